"""Scanning a source: what is in it, and the mapping that would show it.

:mod:`~adapters.scan.database` and :mod:`~adapters.scan.files` find tables and samples,
:mod:`~adapters.scan.inferring` judges columns, :mod:`~adapters.scan.proposing` writes the mapping,
:mod:`~adapters.scan.drift` compares a mapping with what is found today.
"""
