"""That what a log holds are entries as servers write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from exchange.journal.entries import Sealed, is_plain, parse_entry
from exchange.problems import Code, Problem
from mediator.journal.verify.signing import check_refusal


def read_entry(entry: bytes) -> tuple[Mapping[str, Any], Sealed | None]:
    """An entry as the JSON object that it is, and the sealed part that it names.

    Raises:
        Problem: ``JournalCorrupt`` when it is no entry as servers write them; what
            :func:`check_refusal` says.
    """
    try:
        document = orjson.loads(entry)
        named = document.get("sealed")
        sealed = None
        if named is not None:
            sealed = Sealed(**named)
            if type(sealed.key) is not str or type(sealed.leaf) is not int:
                raise TypeError("key")
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise Problem(Code.JOURNAL_CORRUPT, detail="the entry is no entry") from error
    if not is_plain(document, entry):
        try:
            parse_entry(entry)
        except Problem as problem:
            detail = f"the entry is no entry: {problem.where}: {problem.detail}"
            raise Problem(Code.JOURNAL_CORRUPT, detail=detail) from problem
    check_refusal(document)
    return document, sealed
