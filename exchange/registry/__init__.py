"""What the registry publishes beside registrations: standing, moves, continuity, bundles."""
