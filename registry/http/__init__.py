"""The registry's HTTP API, and its client."""
