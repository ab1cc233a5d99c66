"""A development certificate authority and time-stamp authority, loudly DEV."""
