"""What is fuzzed: each target is a strategy and a check, which raises when a rule is broken."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.fuzz import fields, formats, streams

CORPUS = Path(__file__).parent / "corpus"


class Target(NamedTuple):
    """``write`` gives what is kept of a finding in the corpus: of streams their bytes, of other
    values, which are made of Python's literals, how they are spelled."""

    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], Any]
    write: Callable[[Any], bytes] = lambda example: f"{example!a}\n".encode()


def _answer(given: tuple[list[bytes], bool]) -> bool:
    pieces, head_only = given
    return streams.check_answer(pieces, head_only=head_only) is not None


TARGETS = {
    "requests": Target(streams.request_streams(), streams.check_requests, b"".join),
    "answers": Target(
        st.tuples(streams.answer_streams(), st.booleans()), _answer, lambda it: b"".join(it[0])
    ),
    "targets": Target(fields.targets(), fields.check_target),
    "headers": Target(fields.headers(), fields.check_headers),
    "seals": Target(fields.tampered(), fields.check_seal),
    "signatures": Target(fields.signature_texts(), fields.check_signature_fields),
    "fingerprints": Target(formats.named(), formats.check_fingerprints),
    "answers-kept": Target(formats.kept_answers(), formats.check_answer_kept),
    "maintenance": Target(formats.orders(), formats.check_order),
    "questions": Target(formats.questions(), formats.check_question),
    "configurations": Target(formats.configurations(), formats.check_configuration),
}
STREAMS = ("requests", "answers")


def keep(name: str, example: Any, folder: Path = CORPUS) -> Path:
    """Write a finding to the corpus; says where."""
    data = TARGETS[name].write(example)
    verdict = "refused-" if name in STREAMS else ""
    path = folder / name / f"{verdict}found-{sha256(data).hexdigest()[:12]}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def replay(kind: str, data: bytes) -> int:
    """Check a stream of the corpus, whole, in single bytes and cut at every place of its start.

    Returns how many messages are taken, which must not depend on the cuts.
    """
    found = set()
    for places in ([], [0], *([at, at + 1] for at in range(1, min(len(data), 48)))):
        pieces = streams.cut(data, places)
        if kind == "requests":
            found.add(streams.check_requests(pieces))
        else:
            found.add(int(streams.check_answer(pieces, head_only=False) is not None))
    # Requests sent ahead behind a chunked body are left to the next connection, if they came
    # in the same piece: then fewer are taken, and never others.
    return max(found) if len(found) == 1 or min(found) > 0 else -1


def replay_value(name: str, data: bytes) -> None:
    """Check a value of the corpus."""
    TARGETS[name].check(literal_eval(data.decode("ascii")))
