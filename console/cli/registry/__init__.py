"""`saphan registry`: run the registry, register a member, approve, publish, look up.

Three people use it: the *operator* (init, serve, key-add, approve, schema-publish,
element-publish, ceremony), the *member*
(member-init, submit, member-rotate) and everybody (list, show, verify).
"""

from console.cli.registry import (
    ceremony,
    consenting,
    elements,
    handing_in,
    keys,
    lookup,
    member,
    orders,
    own,
    requests,
    restoring,
    running,
)
from console.cli.registry.group import registry

__all__ = [
    "ceremony",
    "consenting",
    "elements",
    "handing_in",
    "keys",
    "lookup",
    "member",
    "orders",
    "own",
    "registry",
    "requests",
    "restoring",
    "running",
]
