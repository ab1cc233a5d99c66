"""Contracts: what a service published that it takes and gives, and the check of what crosses."""
