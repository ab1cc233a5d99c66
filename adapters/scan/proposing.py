"""The mapping that would show what a scan found, as YAML that a person goes on with.

Every doubt stands as a comment beside what it is about, and is returned, too. The text is one that
:func:`adapters.mapping.file.parse_mapping` accepts, and its queries run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import yaml

from adapters.fields import Kind
from adapters.mapping.head import FORMAT_VERSION
from adapters.mapping.model import FileTable
from adapters.mapping.parameters import RESERVED_PARAMETERS
from adapters.scan.files import GUESSED
from adapters.scan.inferring import DoubtCode
from adapters.scan.numbers import number_keys
from adapters.scan.planning import LAO, Plan, Shown
from adapters.scan.scanned import Unsure
from adapters.text.codec import table_of
from adapters.text.convert import Encoding
from exchange.identifiers import ApplicationId

PAGE_SIZE = 100
_ORDERED = (Kind.STRING, Kind.INTEGER, Kind.DECIMAL, Kind.DATE, Kind.DATETIME)


def propose(
    application: ApplicationId,
    service: str,
    source: Mapping[str, Any],
    plans: Sequence[Plan],
    quote: str = '"',
) -> tuple[str, list[Unsure]]:
    """The mapping of ``plans``, and what is unsure about it.

    Args:
        application: whose service it will be.
        service: the code of the service that shows all tables.
        source: the ``source`` of the mapping, without the tables of files.
        plans: at least one.
        quote: the sign around names in the source's SQL.
    """
    unsure = [one for plan in plans for one in _doubts(plan)]
    parts = [
        f"saphan_mapping: {FORMAT_VERSION}",
        f"application: {application}",
        f"title: {_texts(application.application_code, '')}",
        "",
        "source:",
        *(f"  {key}: {_flow(value)}" for key, value in source.items()),
        *_files(plans),
        "",
        "records:",
        *(line for plan in plans for line in _record(plan)),
        "",
        "queries:",
        *(line for plan in plans for line in _query(plan, quote)),
        "",
        "services:",
        f"  {service}:",
        f"    title: {_texts(service, '')}",
        "    endpoints:",
        *(line for plan in plans for line in _endpoints(plan)),
    ]
    return "\n".join(parts) + "\n", unsure


def _doubts(plan: Plan) -> Iterator[Unsure]:
    for code, words in _of_the_file(plan):
        yield Unsure(plan.table.name, code, words)
    if not plan.key:
        words = "no key tells its rows apart: the list has no pages, and no address for one record"
        yield Unsure(plan.table.name, DoubtCode.KEY, words)
    for column in (*plan.columns, *plan.left_out):
        for doubt in column.proposal.doubts:
            yield Unsure(f"{plan.table.name}.{column.found.name}", doubt.code, doubt.words)


# YAML.


def _flow(value: Any) -> str:
    # A line break of Unicode would be folded into spaces: then everything is written as escapes.
    breaks = any(sign in repr(value) for sign in ("\\x85", "\\u2028", "\\u2029"))
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=not breaks, sort_keys=False, width=10_000
    )
    return str(text).removesuffix("...\n").strip()


def _texts(name: str, comment: str) -> str:
    """A title in both languages: Lao where the source has it, else the name again."""
    words = comment if LAO.search(comment) else name
    return _flow({"en": name[:500], "lo": words[:500]})


def _files(plans: Sequence[Plan]) -> Iterator[str]:
    if plans[0].file is None:
        return
    yield "  tables:"
    for plan in plans:
        file = plan.file
        assert file is not None  # noqa: S101 (all tables of a source are of files, or none)
        yield f"    {plan.name}:"
        yield f"      file: {_flow(file.file)}"
        for key, value, usual in (
            ("sheet", file.sheet, None),
            ("header_row", file.header_row, 1),
            ("header_rows", file.header_rows, 1),
            ("ends_at", ends_at_keys(file), None),
            ("delimiter", {"\t": "tab"}.get(file.delimiter, file.delimiter), ","),
            ("encoding", _encoding(file.encoding), None),
        ):
            if value != usual:
                yield f"      {key}: {_flow(value)}"
        for code, words in _of_the_file(plan):
            yield f"      # unsure, {code}: {_comment(words)}"
        yield "      columns:"
        for column in plan.columns:
            yield f"        {column.alias}: {_flow(_stored(column, plan))}"


def ends_at_keys(file: FileTable) -> dict[str, Any] | None:
    """Where the rows of a file end, as a mapping says it."""
    ends_at = file.ends_at
    if ends_at is None:
        return None
    found = {"empty": ends_at.empty, "begins_with": list(ends_at.begins_with)}
    return {"header": ends_at.header} | {key: value for key, value in found.items() if value}


def _of_the_file(plan: Plan) -> Iterator[tuple[DoubtCode, str]]:
    for words in plan.table.layout:
        yield DoubtCode.LAYOUT, words
    if plan.file is not None and plan.file.encoding in GUESSED:
        words = f"not UTF-8, and no Lao encoding for certain: read as {plan.file.encoding};"
        told = f"{words} saphan text detect {plan.table.file} tells what else it may be"
        yield DoubtCode.ENCODING, told


def _encoding(name: str | None) -> str | None:
    """As a mapping says it: a codec of a font map is called by its file."""
    table = None if name is None else table_of(name)
    return name if table is None else Encoding(table).in_a_mapping


def _stored(column: Shown, plan: Plan) -> Any:
    keys: dict[str, Any] = {"header": column.found.name}
    kind = column.proposal.kind
    if kind in (Kind.INTEGER, Kind.DECIMAL) or (kind is Kind.DATE and not _is_text(column)):
        keys["type"] = str(kind)
        if "format" in column.proposal.keys:
            keys["format"] = column.proposal.keys["format"]
        keys |= number_keys(column.found)
    if column.found.name in plan.table.key:
        keys["index"] = True
    return keys if len(keys) > 1 else column.found.name


def _is_text(column: Shown) -> bool:
    """Whether a date of a file stays a text: what its reader has no word for, the field has."""
    texts = [text.strip() for text in column.values if isinstance(text, str) and text.strip()]
    form = str(column.proposal.keys.get("format", "%Y-%m-%d"))
    return not all(_is_plain(text, form) for text in texts)


def _is_plain(text: str, form: str) -> bool:
    with suppress(ValueError):
        return bool(datetime.strptime(text, form)) and text.isascii()
    return False


def _record(plan: Plan) -> Iterator[str]:
    yield f"  {plan.name}:"
    yield f"    title: {_texts(plan.table.name, plan.table.comment)}"
    yield "    fields:"
    for column in plan.columns:
        keys: dict[str, Any] = {"type": str(column.proposal.kind)}
        for key, value in column.proposal.keys.items():
            # What is stored as a date in the snapshot is no longer written as text.
            stored = column.proposal.kind is Kind.DATE and not _is_text(column)
            if plan.file is None or key != "format" or not stored:
                keys[key] = value
        lao = next(filter(LAO.search, (column.found.comment, column.found.name)), None)
        if lao is not None:
            keys["title"] = {"en": column.alias, "lo": lao[:500]}
        for doubt in column.proposal.doubts:
            yield f"      # unsure, {doubt.code}: {_comment(doubt.words)}"
        yield f"      {column.alias}: {_field(keys, required=column.required)}"
    for column in plan.left_out:
        told = f"{column.found.name} is left out: {column.proposal.refused}"
        yield f"      # {_comment(told)}"


def _field(keys: dict[str, Any], *, required: bool) -> str:
    if required:  # as people write it: the reader takes words as they are
        return f"{_flow(keys).removesuffix('}')}, null: refuse}}"
    return _flow(keys if len(keys) > 1 else keys["type"])


def _comment(words: str) -> str:
    # YAML has no place for control signs, not even in a comment.
    shown = "".join(sign if sign.isprintable() else " " for sign in words)
    return " ".join(shown.split())[:300]


def _query(plan: Plan, quote: str) -> Iterator[str]:
    yield f"  {plan.name}:"
    yield f"    record: {plan.name}"
    if plan.file is not None:
        names = ", ".join(column.alias for column in plan.columns)
        yield f"    sql: {_flow(f'SELECT {names} FROM {plan.name}')}"  # noqa: S608
        return
    shown = [
        column.alias
        if column.found.name == column.alias and column.proposal.sql == "{}"
        else f"{_made(column, quote)} AS {column.alias}"
        for column in plan.columns
    ]
    statement = f"SELECT {', '.join(shown)} FROM {_quoted(plan.table.name, quote)}"  # noqa: S608
    yield f"    sql: {_flow(statement)}"


def _made(column: Shown, quote: str) -> str:
    return column.proposal.sql.replace("{}", _quoted(column.found.name, quote))


def _quoted(name: str, quote: str) -> str:
    return f"{quote}{name.replace(quote, 2 * quote)}{quote}"


def _endpoints(plan: Plan) -> Iterator[str]:
    title = _texts(plan.table.name, plan.table.comment)
    key = list(plan.key)
    kinds = {column.alias: column.proposal for column in plan.columns}
    yield f"      /{plan.name}:"
    yield "        operation: list"
    yield f"        query: {plan.name}"
    yield f"        title: {title}"
    if not key:
        yield f"        # unsure, {DoubtCode.KEY}: give it an order that tells rows apart"
    elif all(kinds[one].kind in _ORDERED for one in key):
        yield f"        order: {_flow(key)}"
        yield f"        page_size: {PAGE_SIZE}"
    filters = [
        column.alias
        for column in plan.columns
        if column.found.name in plan.table.indexed and column.alias not in RESERVED_PARAMETERS
    ]
    if plan.file is not None:
        filters = key
    filters = [one for one in filters if kinds[one].searchable]
    if filters:
        yield f"        filters: {_flow(filters)}"
    if len(key) == 1 and kinds[key[0]].searchable:
        yield f"      /{plan.name}/{{{key[0]}}}:"
        yield "        operation: one"
        yield f"        query: {plan.name}"
        yield f"        title: {title}"
