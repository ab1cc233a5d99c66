"""An append-only log on disk: tiles that anybody may read, and every operation on the disk.

A server's journal (:mod:`mediator.journal`) and the registry's own log are both made of it.
"""
