"""Asking the servers of organisations what a mandate shows, through the auditor's own server."""
