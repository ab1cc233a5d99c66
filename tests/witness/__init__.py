"""Witnessing: the memory, the face, the client, and what each does when somebody misbehaves."""
