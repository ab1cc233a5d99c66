"""Shared JSON Schemas (2020-12) and their loader."""
