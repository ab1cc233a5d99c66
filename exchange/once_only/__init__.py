"""Ask once: the dictionary of elements, what services ask people for, and evidence requests."""
