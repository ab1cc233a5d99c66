"""The tests of Saphan."""
