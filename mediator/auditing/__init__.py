"""What a server answers to those who hold a mandate over its journal."""
