"""What operators see of a server and may do to it: health, metrics, agreements, maintenance."""
