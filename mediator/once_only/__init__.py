"""Ask once: elements fetched from their sources for the applications of this server.

:mod:`~mediator.once_only.asks` says which exchanges an evidence request takes, :mod:`.answers` what
an answer means for its elements, :mod:`.asking` makes the exchanges at the same time,
:mod:`.previews` keeps what a person has still to decide upon, :mod:`.allowance` tells what is
allowed before anybody is asked, :mod:`.service` is the HTTP face.
"""
