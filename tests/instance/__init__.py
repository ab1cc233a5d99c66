"""The instance that is built from GovStack's configuration document."""
