"""Writing to a source where its owner allows it; see docs/adr/0065."""
