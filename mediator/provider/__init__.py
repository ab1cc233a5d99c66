"""The provider's side: a signed message is opened, allowed, checked, delivered and answered."""
