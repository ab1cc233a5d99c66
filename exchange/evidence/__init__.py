"""Evidence by foreign standards: ASiC-E, CAdES, time-stamps (RFC 3161), revocation (RFC 6960)."""
