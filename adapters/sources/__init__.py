"""What records are read from: databases and snapshots of files, each in read-only sessions."""
