"""The consumer's side: a call becomes a signed message, and its answer comes back."""
