"""What two parties must agree on, byte for byte.

Everything here is pure: functions take bytes, values and *the time* as arguments and return
values or raise a :class:`exchange.problems.Problem`. No module reads a clock, a file, a socket,
the environment or a random source. A module belongs here only if two parties must agree on it.
"""
