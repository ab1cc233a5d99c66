"""Faults done to real servers: kills, full disks, stops, outages, damaged files."""
