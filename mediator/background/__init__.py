"""What a server does beside the messages: it stamps, asks authorities, compares and commits."""
