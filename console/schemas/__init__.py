"""Tools for those who write schemas: faults that lead to trouble later, and test data."""
