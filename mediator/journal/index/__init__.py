"""The search index: derived from the entries, rebuilt from the bundles whenever it is not there.

In SQLite beside the log, or in PostgreSQL, shared by the servers of a member; the tables are
defined once (:mod:`~mediator.journal.index.tables`), and so are the questions
(:mod:`~mediator.journal.index.reader`). The index answers questions; it proves nothing.
"""

from mediator.journal.index.query import OUTCOMES, Cursor, Hit, MonthTag, Page, Query
from mediator.journal.index.reader import IndexReader, open_others, search
from mediator.journal.index.sqlite import FILE
from mediator.journal.index.writer import IndexWriter

__all__ = [
    "FILE",
    "OUTCOMES",
    "Cursor",
    "Hit",
    "IndexReader",
    "IndexWriter",
    "MonthTag",
    "Page",
    "Query",
    "open_others",
    "search",
]
