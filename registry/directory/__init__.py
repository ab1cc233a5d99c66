"""The directory: what is published, to be searched and read by people and machines."""
