"""zeep's reading of schemas, with what it forgets kept.

zeep reads XML Schema 1.0 and drops what it has no use for as a client: the facets of simple types,
which types are abstract or derived from which, and substitution groups. The visitor here keeps
them; zeep is extended at four places of its inside (document, schema, schema document, visitor).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree
from zeep.utils import qname_attr
from zeep.wsdl import Document
from zeep.xsd import Schema
from zeep.xsd.schema import SchemaDocument
from zeep.xsd.types.collection import ListType, UnionType
from zeep.xsd.types.unresolved import UnresolvedCustomType
from zeep.xsd.visitor import SchemaVisitor, tags

_XSD = "{http://www.w3.org/2001/XMLSchema}"
# Of what these have everything is derived, and nothing stands in its place: any type, any array.
_OTHERS = (_XSD[1:-1], "http://schemas.xmlsoap.org/soap/encoding/")
_BASES = f"{_XSD}*/{_XSD}extension", f"{_XSD}*/{_XSD}restriction"


@dataclass(slots=True)
class Notes:
    """What was noted of a schema: names of types and elements, as ``{namespace}local``.

    ``derived`` are the types that say that they are derived of a type; ``substitutes`` the
    elements that say that they may stand in the place of an element.
    """

    derived: dict[str, list[str]] = field(default_factory=dict)
    substitutes: dict[str, list[str]] = field(default_factory=dict)
    abstract_types: set[str] = field(default_factory=set)
    abstract_elements: set[str] = field(default_factory=set)

    def descendants(self, name: str) -> Iterator[str]:
        """All types that are derived of ``name``, directly or not, each once."""
        return (one for one, _ in _below(name, self.derived))

    def group(self, name: str) -> Iterator[tuple[str, str]]:
        """All elements that may stand in the place of ``name``, each once and after its head."""
        return _below(name, self.substitutes)


def _below(name: str, children: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    seen, waiting = {name}, [name]
    while waiting:
        parent = waiting.pop(0)
        for child in children.get(parent, ()):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
                yield child, parent


class _Restricted(UnresolvedCustomType):  # type: ignore[misc]
    """A restriction of a simple type that keeps its facets, and those of its base."""

    def __init__(self, qname: Any, base_type: Any, schema: Any, facets: dict[str, Any]) -> None:
        super().__init__(qname, base_type, schema)
        self._facets = facets

    def resolve(self) -> Any:
        base = self.base_type.resolve()
        if isinstance(base, ListType | UnionType):
            return base  # judged less strictly; zeep mistakes what a restricted list is of
        found = super().resolve()
        found.saphan_facets = getattr(base, "saphan_facets", {}) | self._facets
        return found


class _Visitor(SchemaVisitor):  # type: ignore[misc]
    def visit_simple_type(self, node: Any, parent: Any) -> Any:
        found = super().visit_simple_type(node, parent)
        if not isinstance(found, UnresolvedCustomType):
            return found
        restricted = _Restricted(found.qname, found.base_type, found.schema, _facets(node))
        if parent.tag == tags.schema:
            self.register_type(found.qname, restricted)
        return restricted

    def visit_complex_type(self, node: Any, parent: Any) -> Any:
        found = super().visit_complex_type(node, parent)
        if parent.tag == tags.schema:
            notes: Notes = self.schema.notes
            if _is_true(node.get("abstract")):
                notes.abstract_types.add(found.qname.text)
            for path in _BASES:
                for base in node.iterfind(path):
                    name = self._create_qname(qname_attr(base, "base"))
                    if name.namespace not in _OTHERS:
                        _note(notes.derived, name.text, found.qname.text)
        return found

    def visit_element(self, node: Any, parent: Any) -> Any:
        found = super().visit_element(node, parent)
        if parent.tag == tags.schema:
            notes: Notes = self.schema.notes
            if _is_true(node.get("abstract")):
                notes.abstract_elements.add(found.qname.text)
            head = qname_attr(node, "substitutionGroup")
            if head is not None:
                _note(notes.substitutes, self._create_qname(head).text, found.qname.text)
        return found

    def visit_choice(self, node: Any, parent: Any) -> Any:
        found = super().visit_choice(node, parent)
        # zeep makes every element of a choice optional, and forgets which were.
        children = [one for one in node if one.tag != tags.annotation]
        found.saphan_optional = [one.get("minOccurs") == "0" for one in children]
        return found

    visitors = SchemaVisitor.visitors | {
        tags.simpleType: visit_simple_type,
        tags.complexType: visit_complex_type,
        tags.element: visit_element,
        tags.choice: visit_choice,
    }


def _is_true(text: str | None) -> bool:
    return text in ("true", "1")


def _note(notes: dict[str, list[str]], name: str, other: str) -> None:
    found = notes.setdefault(name, [])
    if other not in found:
        found.append(other)


def _facets(node: Any) -> dict[str, Any]:
    facets: dict[str, Any] = {}
    words = [one.get("value", "") for one in node.findall(f"{_XSD}restriction/{_XSD}enumeration")]
    if words:
        facets["values"] = tuple(dict.fromkeys(words))
    for child in node.find(f"{_XSD}restriction") or ():
        name = etree.QName(child).localname
        if name in ("pattern", "length", "minLength", "maxLength") or name.endswith("clusive"):
            # Several patterns of one step mean any of them (XML Schema part 2, 4.3.4).
            facets[name] = None if name == "pattern" and name in facets else child.get("value")
    return facets


class _SchemaDocument(SchemaDocument):  # type: ignore[misc]
    def load(self, schema: Any, node: Any) -> None:
        if node is not None:
            _Visitor(schema, self).visit_schema(node)


class _Schema(Schema):  # type: ignore[misc]
    def __init__(self, *args: Any, **named: Any) -> None:
        self.notes = Notes()
        super().__init__(*args, **named)

    def create_new_document(
        self, node: Any, url: Any, base_url: Any = None, target_namespace: Any = None
    ) -> Any:
        namespace = node.get("targetNamespace") if node is not None else None
        document = _SchemaDocument(namespace or target_namespace, url, base_url or url)
        self.documents.add(document)
        document.load(self, node)
        return document


class NotingDocument(Document):  # type: ignore[misc]
    """zeep's reading of a WSDL, whose ``types.notes`` are :class:`Notes`."""

    def load(self, location: Any) -> None:
        self.types = _Schema(
            node=None, transport=self.transport, location=self.location, settings=self.settings
        )
        super().load(location)
