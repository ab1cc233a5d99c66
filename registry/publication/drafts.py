"""The next targets on their way: drafted, carried from one keyholder to the other, then published.

A draft is one file: the targets that are published, the next ones with the signatures so far, the
files that these name anew, and the request that they approve, if any. Whoever signs sees what
changes (:func:`protocol`), worked out from the two metadata files alone, and the digest that all
read aloud. A registry that is not open yet has a draft, too: with nothing before it. Nothing here
touches a network; the registry and every server judge it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, Root, Targets

from exchange.documents import format_document, parse_document
from exchange.problems import Code, Problem
from exchange.registry.delegations import read_delegations, read_standing_keys
from exchange.registry.key_sets import KeySet
from registry.publication.publish import OWN_ROLE, check_file, is_signed, new_targets, read
from registry.requests.submissions import decode, encode

MAX_DRAFT_BYTES = 64 << 20
_MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class TargetsDraft:
    """The next targets, signed by nobody yet, by some or by enough.

    ``before`` is empty for the first; ``request`` is the number of what they approve, and the
    digest of the changes that its drafter saw.
    """

    instance: str
    before: bytes
    targets: bytes
    files: Mapping[str, bytes]
    request: tuple[int, str] | None = None

    def signed(self, root: Root, signers: Iterable[Signer]) -> TargetsDraft:
        """The same with the signatures of those keys that the root names.

        Raises:
            Problem: ``NotAuthorised`` when none of the keys is named.
        """
        keyids = root.roles[OWN_ROLE].keyids
        return replace(self, targets=add_signatures(self.targets, signers, keyids, "targets"))

    def is_complete(self, root: Root) -> bool:
        """Whether enough of the root's keys have signed."""
        return is_signed(self.targets, root, OWN_ROLE)

    def require_complete(self, root: Root) -> None:
        """Raises: Problem ``NotAuthorised`` when too few of the root's keys have signed."""
        role = root.roles[OWN_ROLE]
        here = len(signers_of(self.targets, role.keyids, root.keys))
        if here < role.threshold:
            raise Problem(
                Code.NOT_AUTHORISED,
                where="keys",
                detail=f"{here} of the targets keys have signed, {role.threshold} must; name them "
                "with --keys, or write a draft for the others with --draft",
                facts={"here": here, "threshold": role.threshold},
            )


def format_draft(draft: TargetsDraft) -> bytes:
    """The draft as a file."""
    document: dict[str, Any] = {
        "draft": "targets",
        "instance": draft.instance,
        "before": encode(draft.before),
        "targets": encode(draft.targets),
        "files": {path: encode(data) for path, data in draft.files.items()},
    }
    if draft.request is not None:
        document |= {"request": draft.request[0], "seen": draft.request[1]}
    return format_document(document)


def is_draft(data: bytes) -> bool:
    """Whether a file is meant to be a draft of targets, and not metadata itself."""
    value = parse_document(data, MAX_DRAFT_BYTES, "draft").value
    return isinstance(value, dict) and "draft" in value


def parse_draft(data: bytes) -> TargetsDraft:
    """Read a draft; the files are those that its metadata names.

    Raises:
        Problem: ``InvalidDocument``; ``DigestMismatch`` for another file than is named.
    """
    fields = parse_document(data, MAX_DRAFT_BYTES, "draft").members(
        frozenset({"draft", "instance", "before", "targets", "files"}),
        frozenset({"request", "seen"}),
    )
    if fields["draft"].value != "targets":
        raise fields["draft"].refuse("must be “targets”")
    request = None
    number, seen = fields.get("request"), fields.get("seen")
    if number is not None and seen is not None:
        request = (number.integer(1, 1 << 53), seen.text(200))
    draft = TargetsDraft(
        fields["instance"].text(255),
        decode(fields["before"]),
        decode(fields["targets"]),
        {path: decode(node) for path, node in fields["files"].entries(_MAX_FILES)},
        request,
    )
    named = read(Targets, draft.targets, "draft").targets
    for path, content in draft.files.items():
        if path not in named:
            raise fields["files"].refuse(f"holds {path[:120]!r}, which the metadata does not name")
        check_file(named[path], content)
    return draft


def protocol(draft: TargetsDraft, root: Root) -> list[str]:
    """What people read aloud and sign on paper: what changes, the digest, who signed so far."""
    new = read(Targets, draft.targets, "draft")
    before = read(Targets, draft.before, "before") if draft.before else new_targets(new.expires)
    of = f"of the registry of {draft.instance}"
    if draft.before:
        lines = [
            f"Targets {before.version} -> {new.version} {of}",
            f"  valid until {new.expires:%FT%TZ} (before: {before.expires:%FT%TZ})",
        ]
        if not is_signed(draft.before, root, OWN_ROLE):
            lines.append("  CAUTION: what was before is not signed under this root")
    else:
        lines = [f"First targets {of}", f"  valid until {new.expires:%FT%TZ}"]
    if draft.request is not None:
        lines.append(f"  approves request {draft.request[0]}")
    lines.append(digest_line(draft.targets))
    lines += _files(before, new)
    lines += _delegations(before, new, draft.instance)
    role = root.roles[OWN_ROLE]
    signed = signers_of(draft.targets, role.keyids, root.keys)
    names = ", ".join(keyid[:16] for keyid in signed) or "nobody"
    return [*lines, f"  signed by {len(signed)} of {role.threshold}: {names}"]


def digest_line(metadata: bytes) -> str:
    """The digest that all who sign compare."""
    digest = sha256(Metadata[Any].from_bytes(metadata).signed_bytes).hexdigest()
    return f"  SHA-256 of what is signed: {' '.join(digest[i : i + 8] for i in range(0, 64, 8))}"


def add_signatures(
    data: bytes, signers: Iterable[Signer], keyids: Sequence[str], role: str
) -> bytes:
    """The metadata with the signatures of those signers whose keys are named.

    Raises:
        Problem: ``NotAuthorised`` when none is.
    """
    fitting = [signer for signer in signers if signer.public_key.keyid in keyids]
    if not fitting:
        raise Problem(
            Code.NOT_AUTHORISED,
            where="keys",
            detail=f"none of these is a key of the {role} role",
        )
    metadata: Metadata[Any] = Metadata.from_bytes(data)
    for signer in fitting:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def signers_of(data: bytes, keyids: Sequence[str], keys: Mapping[str, Key]) -> list[str]:
    """Which of these keys have signed the metadata, and well."""
    metadata: Metadata[Any] = Metadata.from_bytes(data)
    return [keyid for keyid in keyids if _has_signed(metadata, keyid, keys)]


def _has_signed(metadata: Metadata[Any], keyid: str, keys: Mapping[str, Key]) -> bool:
    key, signature = keys.get(keyid), metadata.signatures.get(keyid)
    if key is None or signature is None:
        return False
    try:
        key.verify_signature(signature, metadata.signed_bytes)
    except Exception:  # whatever is wrong with it, it is none
        return False
    return True


def _files(before: Targets, new: Targets) -> Iterator[str]:
    for path, file in sorted(new.targets.items()):
        if before.targets.get(path) != file:
            mark = "CHANGES" if path in before.targets else "NEW"
            yield f"  file {path}  {mark}  SHA-256 {file.hashes.get('sha256', '')}"
    for path in sorted(before.targets.keys() - new.targets.keys()):
        yield f"  file {path}  GOES"


def _delegations(before: Targets, new: Targets, instance: str) -> Iterator[str]:
    old, keys = _keys(before, instance), _keys(new, instance)
    for name in sorted(old.keys() | keys.keys()):
        was, becomes = old.get(name), keys.get(name)
        if becomes is None:
            yield f"  {name}  GOES"
        elif was is None or was.identity != becomes.identity:
            mark = "NEW" if was is None else "OTHER KEYS"
            yield f"  {name}  {mark}: {becomes.threshold} of {len(becomes.keys)} must sign"
            yield from (f"    {key.keyid[:16]}" for key in becomes.keys)


def _keys(targets: Targets, instance: str) -> dict[str, KeySet]:
    found = {
        f"member {member}": keys for member, keys in read_delegations(targets, instance).items()
    }
    if (standing := read_standing_keys(targets)) is not None:
        found["standing (what is disabled)"] = standing
    return found
