"""The face for people: the `saphan` command. Composes every package, imported by none."""
