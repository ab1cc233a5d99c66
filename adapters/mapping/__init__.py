"""A mapping: its values (:mod:`~adapters.mapping.model`) and the reading of its YAML file."""
