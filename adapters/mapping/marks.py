"""Marks: what a member is to others than its record, in the keywords that schemas use for it.

- ``element`` (``x-saphan-element``): the data element of the registry's dictionary that it is;
- ``subject`` (``x-saphan-subject``): it identifies the subject of the record, under this scheme of
  ``Exchange-Subject``;
- ``statistics`` (``x-saphan-statistics``): the provider's server counts its values under this name.

A record with a shared schema has its marks there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Map
from dataclasses import dataclass
from typing import Final

from adapters.fields import Field, Kind, Otherwise, Schema
from adapters.mapping.reader import Node
from exchange.once_only.elements import MARK as ELEMENT
from exchange.once_only.elements import is_element_id
from exchange.schema_sets.keywords import MARK as STATISTICS

SUBJECT: Final = "x-saphan-subject"
KEYS: Final = ("element", "subject", "statistics")
_SCHEME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one member; empty is none."""

    element: str = ""
    subject: str = ""
    statistics: str = ""

    @property
    def schema(self) -> Schema:
        """The marks as keywords of a schema."""
        keywords = {ELEMENT: self.element, SUBJECT: self.subject, STATISTICS: self.statistics}
        return {name: value for name, value in keywords.items() if value}


def read_marks(found: Map[str, Node]) -> Marks:
    """The keys ``element``, ``subject`` and ``statistics`` among ``found``."""
    element = found["element"].text(longest=163) if "element" in found else ""
    if element and not is_element_id(element):
        found["element"].refuse("must be the id of a data element, such as person.birth-date")
    return Marks(
        element,
        found["subject"].text(_SCHEME) if "subject" in found else "",
        found["statistics"].text(_NAME) if "statistics" in found else "",
    )


def field_marks(found: Map[str, Node], field: Field) -> Marks:
    """The marks of a field.

    Only values that a schema lists are counted, so that no name or number of a person can be.
    """
    marks = read_marks(found)
    listed = field.kind is Kind.BOOLEAN or (
        field.kind is Kind.ENUMERATION and field.otherwise is not Otherwise.KEEP
    )
    if marks.statistics and not listed:
        found["statistics"].refuse("only an enumeration whose words are known and a boolean count")
    if marks.subject and (field.kind not in (Kind.STRING, Kind.INTEGER) or not field.searchable):
        found["subject"].refuse("must be a text or number by which the source can be asked")
    return marks
