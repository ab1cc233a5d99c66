"""Lao text from before Unicode: code tables, detection, conversion, names.

Pure: bytes and strings in, values out. Nothing here guesses in silence: what could not be decoded
is told with its place, and the detector gives a confidence.
"""
