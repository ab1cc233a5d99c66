"""A small world for end-to-end tests: two servers with members of their own, real processes."""
