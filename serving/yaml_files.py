"""YAML that people write, read as strictly as JSON.

Invariants: no key comes twice in a mapping, so that nobody reads one value while another counts;
what aliases stand for is bounded, however they are nested; whatever is wrong is a
``yaml.YAMLError``.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

MAX_NODES: Final = 200_000


class _Loader(yaml.SafeLoader):
    """The safe loader, with the module's invariants."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if node is not None and not is_alias:
            if isinstance(node, yaml.MappingNode):
                _refuse_twice(node)
                parts = [part for pair in node.value for part in pair]
            else:
                parts = node.value if isinstance(node, yaml.SequenceNode) else []
            self._sizes[node] = 1 + sum(self._size(part) for part in parts)
        return node

    def _size(self, node: yaml.Node) -> int:
        size = self._sizes.get(node)
        if size is None:
            raise yaml.MarkedYAMLError(problem="an alias in itself", problem_mark=node.start_mark)
        if size > MAX_NODES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_NODES} values, aliases written out",
                problem_mark=node.start_mark,
            )
        return size


def _refuse_twice(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            name = (key.tag, key.value)
            if name in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value[:80]!r} comes twice", problem_mark=key.start_mark
                )
            seen.add(name)


_QuickLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _TextLoader(_Loader):
    """The same, with every plain scalar read as the text that stands there."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - pyyaml's own form


def read_yaml(data: bytes, *, texts: bool = False) -> Any:
    """Read one document.

    Args:
        texts: read plain scalars as texts, for documents that hold nothing else: ``007`` stays
            ``007``, and ``no`` stays ``no``.

    Raises:
        yaml.YAMLError: when it is not YAML of the safe kind, or breaks an invariant.
    """
    loader = _TextLoader if texts else _Loader
    try:
        return yaml.load(data, Loader=loader)  # noqa: S506 - it is a SafeLoader
    except RecursionError as error:
        raise yaml.YAMLError("nested too deeply") from error
    except ValueError as error:  # such as a date that is none
        raise yaml.YAMLError(str(error)) from error


def read_own(data: bytes) -> Any:
    """Read a document that comes with the program, ten times as quickly, for each start reads some.

    Such a document is strict already: tests see that :func:`read_yaml` reads the same.
    """
    return yaml.load(data, Loader=_QuickLoader)  # noqa: S506 - it is a SafeLoader
