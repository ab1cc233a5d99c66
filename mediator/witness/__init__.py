"""Witnessing: cosigning the checkpoints of others' logs, and having one's own cosigned."""
