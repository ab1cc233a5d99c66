"""Who acts in the registry, how they sign in, and what they are told."""
