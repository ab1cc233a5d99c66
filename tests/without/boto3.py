"""Not for the processes of tests: a user's installation has none (see tests/conftest.py)."""

raise ImportError("moto alone needs boto3")
