"""Requests to the registry: their states, the rules that judge them, and what they change."""
