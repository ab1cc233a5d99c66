"""Retention: what the journal keeps of an exchange, for how long, and how it is erased."""
