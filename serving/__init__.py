"""The shared I/O shell: start, stop, TLS, limits, replies, settings, logs, metrics, clock."""
