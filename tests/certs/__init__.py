"""Tests of certs/, and the authorities that other tests issue from."""
