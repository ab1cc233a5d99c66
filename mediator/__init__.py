"""The security server: signs, records and forwards every message of its members."""
