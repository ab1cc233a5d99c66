"""The journal: what this server sent and received, durable before it takes effect, and provable.

A journal is one directory::

    journal.json            origin and verifier key of the log
    log/                    for everybody: checkpoint, tiles, entry bundles (C2SP tlog-tiles)
    segments/<index>.seg    the records as they were committed: entries and sealed parts
    keys/                   each member's key of each month; destroying one erases what it sealed
    last-checkpoint.sqlite  the last checkpoint that was signed, guarded by compare-and-swap
    subjects/               indexes of subjects that the log committed to: derived
    index.sqlite            search index: derived, rebuilt whenever it is missing

The message path touches :mod:`mediator.journal.log` and :mod:`mediator.journal.intake` only;
everything else happens behind it, from what is already durable.
"""
