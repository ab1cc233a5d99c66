"""Transparency logs (C2SP): tree, tiles, signed notes, checkpoints, proofs, witnesses, policies."""
