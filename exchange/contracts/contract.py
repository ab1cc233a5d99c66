"""Contracts: what a service published that it takes and gives, and the check of what crosses.

A :class:`Contract` is compiled once from the OpenAPI document of a service and the shared schemas;
on the message path it finds the operation and judges request and response. Problems name the
place and the rule, never a value: ``body#/items/3/amount_usd``, ``query.fiscal_year``,
``path.id``, ``header.x-foo``.

Invariants: nothing is fetched; compilation and judgement are bounded (see
:mod:`exchange.schema_sets`); one path means one template (see :mod:`exchange.contracts.paths`).

Parts: :mod:`exchange.contracts.openapi` reads the document, :mod:`exchange.contracts.operations`
judges, :mod:`exchange.contracts.parameters`, :mod:`exchange.i_json` and
:mod:`exchange.contracts.violations` serve it.
"""

from __future__ import annotations

from collections.abc import Mapping

from exchange.contracts.openapi import Reader, head_of
from exchange.contracts.operations import Headers, Match, Operation
from exchange.contracts.paths import PathTable
from exchange.problems import Code, Problem
from exchange.schema_sets.places import Place, refuse

__all__ = ["Contract", "Headers", "Match", "Operation"]


class Contract:
    """The operations of one service."""

    __slots__ = ("_operations", "_table", "weight")

    def __init__(self, operations: tuple[Operation, ...], weight: int = 0) -> None:
        self._operations = operations
        self.weight = weight
        """What it takes in memory; see :data:`exchange.schema_sets.collecting.MAX_WEIGHT`."""
        self._table: PathTable[dict[str, Operation]] = PathTable()
        by_template: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            by_template.setdefault(operation.template, {})[operation.method] = operation
        for template, methods in by_template.items():
            if "GET" in methods:
                methods.setdefault("HEAD", head_of(methods["GET"]))
            try:
                self._table.add(template, methods)
            except ValueError as error:
                raise refuse(Place("", "") / "paths" / template, str(error)) from error

    @classmethod
    def compile(cls, document: bytes, shared: Mapping[str, bytes]) -> Contract:
        """Compile an OpenAPI 3.0 or 3.1 document in JSON.

        Args:
            document: the bytes, at most 2 MiB.
            shared: shared JSON Schemas (2020-12) by their ``$id``; only those that the document
                refers to are read.

        Raises:
            Problem: ``INVALID_DOCUMENT`` at the JSON pointer of what is not accepted.
        """
        reader = Reader(document, shared)
        operations = tuple(reader.operations())
        return cls(operations, reader.weight)

    def find(self, method: str, path: str) -> Match:
        """The operation that a request means. HEAD is GET where it is not declared itself.

        Args:
            method: in capitals.
            path: the part after the service code, still percent-encoded; ``""`` means ``/``.

        Raises:
            Problem: ``UNKNOWN_ENDPOINT``.
        """
        methods, variables = self._table.find(path)
        operation = methods.get(method)
        if operation is None:
            raise Problem(
                Code.UNKNOWN_ENDPOINT,
                where="method",
                detail=f"the path has no operation {method[:20]}",
                facts={"methods": sorted(methods)},
            )
        return Match(operation, variables)

    def endpoints(self) -> tuple[tuple[str, str], ...]:
        """Method and template of every declared operation, in the document's order."""
        return tuple((one.method, one.template) for one in self._operations)

    @property
    def operations(self) -> tuple[Operation, ...]:
        return self._operations
