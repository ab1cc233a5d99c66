"""Deltas: how a long JSON document of the registry changed from one version to the next.

A delta is a JSON Patch (RFC 6902) of the operations ``add``, ``remove`` and ``replace``; it leads
from one document to the next when both are encoded in the one form of :func:`encode`. Nothing
vouches for a delta: whoever applies one compares the digest of what comes out with a digest that
was signed.

Invariants:
- a delta is made only when it leads to exactly the bytes of the next document;
- what comes out is no longer than document and delta together: nothing can be copied.

Not checked here: that the result is what anybody signed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import orjson

from exchange.problems import Code, Problem

FOLDER: Final = "deltas"
MAX_DELTA_BYTES: Final = 64 << 10
MAX_OPERATIONS: Final = 4_000
MAX_DEPTH: Final = 16
_ESCAPES: Final = (("~", "~0"), ("/", "~1"))  # RFC 6901 section 3, in this order


def delta_path(role: str, version: int) -> str:
    """Where the delta lies that leads from the version before to this one."""
    return f"{FOLDER}/{role}/{version}.json"


def encode(document: Any) -> bytes:
    """The one form: members sorted, no white space, ASCII alone."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def make_delta(old: bytes, new: bytes) -> bytes | None:
    """The delta from one document to the next; nothing when there is none that is worth it."""
    try:
        before, after = orjson.loads(old), orjson.loads(new)
    except orjson.JSONDecodeError:
        return None
    operations = list(_differences(before, after, "", 0))
    delta = orjson.dumps(operations)
    if len(delta) > MAX_DELTA_BYTES or len(operations) > MAX_OPERATIONS or len(delta) > len(new):
        return None
    return delta if apply_delta(old, delta) == new else None


def apply_delta(document: bytes, delta: bytes) -> bytes:
    """The document after the delta.

    Raises:
        Problem: ``InvalidDocument`` when the delta is none, is too long, or does not fit.
    """
    if len(delta) > MAX_DELTA_BYTES:
        raise _invalid("", f"longer than {MAX_DELTA_BYTES} bytes")
    try:
        whole, operations = orjson.loads(document), orjson.loads(delta)
    except orjson.JSONDecodeError as error:
        raise _invalid("", "not JSON") from error
    if not isinstance(operations, list) or len(operations) > MAX_OPERATIONS:
        raise _invalid("", f"not a list of at most {MAX_OPERATIONS} operations")
    for number, operation in enumerate(operations):
        try:
            _apply(whole, operation)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise _invalid(f"/{number}", "does not fit the document") from error
    try:
        return encode(whole)
    except RecursionError as error:
        raise _invalid("", "leads to a document that is nested too deep") from error


def _differences(old: Any, new: Any, pointer: str, depth: int) -> Iterator[dict[str, Any]]:
    if old == new and type(old) is type(new):
        return
    if depth < MAX_DEPTH and isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - new.keys():
            yield {"op": "remove", "path": f"{pointer}/{_escaped(key)}"}
        for key, value in new.items():
            if key not in old:
                yield {"op": "add", "path": f"{pointer}/{_escaped(key)}", "value": value}
            else:
                yield from _differences(old[key], value, f"{pointer}/{_escaped(key)}", depth + 1)
    elif depth < MAX_DEPTH and isinstance(old, list) and isinstance(new, list):
        yield from _list_differences(old, new, pointer, depth)
    else:
        yield {"op": "replace", "path": pointer, "value": new}


def _list_differences(
    old: list[Any], new: list[Any], pointer: str, depth: int
) -> Iterator[dict[str, Any]]:
    """What both lists begin and end with stays."""
    shorter, first, last = min(len(old), len(new)), 0, 0
    while first < shorter and old[first] == new[first]:
        first += 1
    while last < shorter - first and old[-1 - last] == new[-1 - last]:
        last += 1
    paired = shorter - last
    for index in range(first, paired):
        yield from _differences(old[index], new[index], f"{pointer}/{index}", depth + 1)
    for _ in range(paired, len(old) - last):
        yield {"op": "remove", "path": f"{pointer}/{paired}"}
    for index in range(paired, len(new) - last):
        yield {"op": "add", "path": f"{pointer}/{index}", "value": new[index]}


def _apply(whole: Any, operation: dict[str, Any]) -> None:
    kind, pointer = operation["op"], operation["path"]
    empty, *path = pointer.split("/", MAX_DEPTH + 1)
    if empty or not path or len(path) > MAX_DEPTH + 1 or kind not in {"add", "remove", "replace"}:
        raise ValueError(pointer)
    *parents, last = map(_unescaped, path)
    for token in parents:
        whole = whole[token] if isinstance(whole, dict) else whole[_index(token, len(whole) - 1)]
    if isinstance(whole, list):
        at = _index(last, len(whole) if kind == "add" else len(whole) - 1)
        if kind == "add":
            whole.insert(at, operation["value"])
        elif kind == "replace":
            whole[at] = operation["value"]
        else:
            del whole[at]
        return
    if kind != "add":
        del whole[last]  # both need it to be there
    if kind != "remove":
        whole[last] = operation["value"]


def _index(token: str, most: int) -> int:
    if not (token.isascii() and token.isdigit()) or str(int(token)) != token or int(token) > most:
        raise ValueError(token)
    return int(token)


def _escaped(key: str) -> str:
    for plain, escaped in _ESCAPES:
        key = key.replace(plain, escaped)
    return key


def _unescaped(token: str) -> str:
    for plain, escaped in reversed(_ESCAPES):
        token = token.replace(escaped, plain)
    return token


def _invalid(where: str, detail: str) -> Problem:
    return Problem(Code.INVALID_DOCUMENT, where=f"delta#{where}", detail=detail)
