"""``instance.json``: what the registry says of the instance."""

from __future__ import annotations

from exchange.documents import Node, format_document, parse_document
from exchange.log.notes import ED25519, MAX_NAME_LENGTH, VerifierKey
from exchange.log.policy import Policy, parse_policy
from exchange.problems import Problem
from exchange.registrations.reading import (
    check_distinct,
    pem,
    pems,
    read_certificate,
    read_certificates,
    read_choice,
    read_code,
)
from exchange.registrations.targets import (
    INSTANCE_TARGET,
)
from exchange.registrations.values import (
    Environment,
    InstanceRecord,
    TimestampAuthority,
)
from exchange.registry.log import origin

MAX_INSTANCE_BYTES = 512 << 10
MAX_LOG_KEYS = 4


def parse_instance(data: bytes) -> InstanceRecord:
    """Parse ``instance.json``.

    Raises:
        Problem: ``InvalidDocument`` with the JSON pointer of the first thing wrong.
    """
    document = parse_document(data, MAX_INSTANCE_BYTES, INSTANCE_TARGET).members(
        frozenset({"instance", "environment", "name", "authorities", "timestamp_authorities"}),
        frozenset({"log", "witnesses"}),
    )
    instance = read_code(document["instance"])
    log, witnesses = document.get("log"), document.get("witnesses")
    return InstanceRecord(
        instance=instance,
        environment=read_choice(Environment, document["environment"]),
        name=document["name"].bilingual(),
        authorities=read_certificates(document["authorities"], least=1, most=64),
        timestamp_authorities=tuple(
            _timestamp_authority(node) for node in document["timestamp_authorities"].items(16)
        ),
        log=() if log is None else _log_keys(log, instance),
        witnesses=None if witnesses is None else _policy(witnesses),
    )


def format_instance(record: InstanceRecord) -> bytes:
    """The canonical bytes of ``instance.json``."""
    members: dict[str, object] = {
        "instance": record.instance,
        "environment": record.environment.value,
        "name": record.name.as_dict(),
        "authorities": pems(record.authorities),
        "timestamp_authorities": [
            {"url": authority.url, "certificate": pem(authority.certificate)}
            for authority in record.timestamp_authorities
        ],
    }
    if record.log:
        members["log"] = [str(key) for key in record.log]
    if record.witnesses is not None:
        members["witnesses"] = str(record.witnesses)
    return format_document(members)


def _log_keys(node: Node, instance: str) -> tuple[VerifierKey, ...]:
    keys = tuple(_log_key(item, instance) for item in node.items(MAX_LOG_KEYS, 1))
    check_distinct(node, [str(key) for key in keys])
    return keys


def _log_key(node: Node, instance: str) -> VerifierKey:
    try:
        key = VerifierKey.parse(node.text(MAX_NAME_LENGTH + 100))
    except Problem as problem:
        raise node.refuse(problem.detail) from problem
    if key.kind != ED25519 or key.name != origin(instance):
        raise node.refuse(f"must be a key of the log {origin(instance)}")
    return key


def _policy(node: Node) -> Policy:
    try:
        policy = parse_policy(node.text(64 << 10).encode())
    except Problem as problem:
        raise node.refuse(f"{problem.where}: {problem.detail}") from problem
    if policy.logs:
        raise node.refuse("names logs; the registry's log stands in log")
    return policy


def _timestamp_authority(node: Node) -> TimestampAuthority:
    fields = node.members(frozenset({"url", "certificate"}))
    url = fields["url"].text(300)
    if not url.isascii() or not url.startswith(("http://", "https://")):
        raise fields["url"].refuse("must be an http or https address")
    return TimestampAuthority(url, read_certificate(fields["certificate"]))
