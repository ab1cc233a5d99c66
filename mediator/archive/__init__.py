"""The archive: closed segments, tiles and bundles in a store of their own, and what comes of them.

An archive has the layout of a journal's directory (:mod:`mediator.journal`), without keys, and a
chain of manifests::

    journal.json, log/, segments/     as in the journal; whoever reads a journal reads an archive
    holdings.json                     up to which entry the sealed parts are here
    anchors.sqlite, evidence.sqlite   the latest copy of the evidence beside the log
    manifests/<number>.json           what one batch put there, with digests

Nothing in it changes but ``log/checkpoint``, ``holdings.json`` and the evidence, which grow;
so a store that keeps every version, or forbids to overwrite for a time, suits it.

It works behind the message path, in a process of its own when a server runs it. The tables for
statistics (Parquet) are derived: they are made anew from the bundles when they are lost.
"""
