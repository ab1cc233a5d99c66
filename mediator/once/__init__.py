"""Exactly once: an unsafe request of the same id is carried out once (docs/adr/0030)."""
