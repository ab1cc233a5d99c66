"""Agreements at a server: pinned, in force until they end or are revoked; what bounds a call."""
