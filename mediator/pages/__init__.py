"""What a server answers its applications by itself, beside their calls."""
