"""What members and operators do on their own machines, with keys that never leave them."""
