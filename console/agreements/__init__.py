"""Agreements as people read and sign them."""
