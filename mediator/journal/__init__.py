"""The append-only journal of one worker: durable intake, tiles, checkpoints, sealed parts."""
