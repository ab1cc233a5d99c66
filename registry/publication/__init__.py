"""Publication: TUF metadata and files, the keys that sign them, and the registry's own log."""
