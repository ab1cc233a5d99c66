"""A statement that writes what the owner listed, by its grammar: parsed in the source's dialect.

:func:`adapters.answers.statements.scan` judges the form of a text when the mapping is read; here it
is a tree of the dialect that will run it. Invariants of what passes:

- it is one INSERT of one row of named columns, one UPDATE or one DELETE, on one listed table;
- an UPDATE and a DELETE name every column of the table's key in their WHERE, as equal to a bound
  parameter that nothing beside it can widen, and an UPDATE does not change the key;
- it holds no query, and calls only functions that sqlglot knows as ones that compute;
- names are compared as the database compares them, quoted or not;
- what a conflict would do instead (IGNORE, REPLACE, ON CONFLICT) stands nowhere.

Not checked: what a trigger of the source does. The account's rights are the fence behind this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from adapters.mapping.model import Statement, WritableTable
from adapters.sources.guard import DIALECTS, REFUSED_FUNCTIONS, Refused, function_names

_KINDS: dict[str, type[exp.Expr]] = {
    "INSERT": exp.Insert,
    "UPDATE": exp.Update,
    "DELETE": exp.Delete,
}
# What each kind of statement is made of; another part is refused.
_PARTS: dict[str, frozenset[str]] = {
    "INSERT": frozenset({"this", "expression", "returning"}),
    "UPDATE": frozenset({"this", "expressions", "where"}),
    "DELETE": frozenset({"this", "where"}),
}
_SAME_IN_ANY_CASE = frozenset({"sqlite", "mssql", "oracle"})
_REFUSED = (
    exp.Query,
    exp.Command,
    exp.Set,
    exp.Parameter,
    exp.SessionParameter,
    exp.Anonymous,
    exp.Lock,
    exp.Into,
    exp.Join,
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A statement that passed: its table, and which column each ``:name`` is bound to."""

    statement: Statement
    table: str
    columns: Mapping[str, str]
    """Column → the name of the parameter that is its value, or that it is compared with."""


def judge(statement: Statement, tables: Mapping[str, WritableTable], dialect: str) -> Judged:
    """Check ``statement`` by the grammar of ``dialect`` (SQLAlchemy's name).

    Raises:
        Refused: when it is not understood, or does more than the owner listed.
    """
    tree = _tree(statement, dialect)
    for part, value in tree.args.items():
        if value and part not in _PARTS[statement.verb]:
            raise Refused(f"{part.strip('_').upper()} has no place in {statement.verb} here")
    for node in tree.walk():
        _check_node(node, statement.names)
    target = tree.this.this if isinstance(tree, exp.Insert) else tree.this
    if not isinstance(target, exp.Table) or target.args.get("joins"):
        raise Refused("it must write one table")
    name = ".".join(_table_name(part, dialect) for part in target.parts)
    table = next((one for listed, one in tables.items() if _listed(listed, dialect) == name), None)
    if table is None:
        listed = ", ".join(sorted(tables))
        raise Refused(f"the table {name} is not writable; 'writable' lists: {listed}")
    if isinstance(tree, exp.Insert):
        columns = _inserted(tree, statement, dialect)
    else:
        columns = _changed(tree, name, table, dialect)
    return Judged(statement, name, columns)


def _listed(name: str, dialect: str) -> str:
    """A name that the owner lists is the database's own: where letters count, as they are."""
    return name.lower() if dialect in _SAME_IN_ANY_CASE else name


def _table_name(part: exp.Expr, dialect: str) -> str:
    """The table's name as the database looks for it.

    PostgreSQL looks for what is not quoted in small letters and for ``"Book"`` as it is written;
    MariaDB may have both Book and book; SQLite has one of them, quoted or not.
    """
    if dialect in _SAME_IN_ANY_CASE or (dialect == "postgresql" and not part.args.get("quoted")):
        return part.name.lower()
    return part.name


def _column_name(column: exp.Expr, dialect: str) -> str:
    """The column's name as the database looks for it: case counts in PostgreSQL's quotes."""
    name = column.this if isinstance(column, exp.Column) else column
    quoted = dialect == "postgresql" and bool(name.args.get("quoted"))
    return column.name if quoted else column.name.lower()


def _key(table: WritableTable, dialect: str) -> dict[str, str]:
    """The columns of the key: as the database looks for them → as they are listed."""
    if dialect == "postgresql":
        return {column: column for column in table.key}
    return {column.lower(): column for column in table.key}


def _tree(statement: Statement, dialect: str) -> exp.Expr:
    try:
        found = sqlglot.parse(statement.sql, dialect=DIALECTS[dialect])
    except (SqlglotError, RecursionError) as error:
        words = " ".join(str(error).split())[:200]
        raise Refused(f"the statement is not understood as SQL of {dialect}: {words}") from error
    trees = [one for one in found if one is not None]
    if len(trees) != 1 or not isinstance(trees[0], _KINDS[statement.verb]):
        raise Refused(f"it is not one {statement.verb}")
    return trees[0]


def _check_node(node: exp.Expr, names: frozenset[str]) -> None:
    for name in function_names(node):
        if REFUSED_FUNCTIONS.fullmatch(name):
            raise Refused(f"the function {name} does more than compute")
    if isinstance(node, exp.Anonymous):
        raise Refused(f"the function {node.name} is not known as one that only computes")
    if isinstance(node, _REFUSED):
        raise Refused(f"{node.key.upper()} has no place in a statement that writes")
    if isinstance(node, exp.Column) and node.name.lower() in ("nextval", "currval"):
        raise Refused("it moves a sequence")
    if isinstance(node, exp.Placeholder) and node.name not in names:
        raise Refused("values are bound by :name")


def _inserted(tree: exp.Insert, statement: Statement, dialect: str) -> dict[str, str]:
    schema, values = tree.this, tree.expression
    if not isinstance(schema, exp.Schema) or not isinstance(values, exp.Values):
        raise Refused("an INSERT names its columns and gives VALUES")
    rows = values.expressions
    if len(rows) != 1 or not isinstance(rows[0], exp.Tuple):
        raise Refused("an INSERT gives one row")
    names = [column.name for column in schema.expressions]
    if len(names) != len(rows[0].expressions):
        raise Refused("an INSERT gives one value for each column that it names")
    returning = tree.args.get("returning")
    returned = [one.name for one in returning.expressions] if returning is not None else []
    if returning is not None and not all(
        isinstance(one, exp.Column) for one in returning.expressions
    ):
        raise Refused("RETURNING gives columns alone")
    if len(returned) != len(statement.returns):
        raise Refused("'returns' names a field for each column of RETURNING, and no other")
    pairs = zip(names, rows[0].expressions, strict=True)
    return {
        column.lower(): value.name for column, value in pairs if isinstance(value, exp.Placeholder)
    }


def _changed(tree: exp.Expr, name: str, table: WritableTable, dialect: str) -> dict[str, str]:
    verb = tree.key.upper()
    if verb == "DELETE" and not table.delete:
        raise Refused(f"no row of {name} may be deleted: 'writable' does not say 'delete: true'")
    if not table.key:
        raise Refused(f"{verb} needs a key of {name} in 'writable'")
    where = tree.args.get("where")
    named = dict(_equal_to_parameters(where.this, dialect)) if where is not None else {}
    key = _key(table, dialect)
    missing = [column for looked_for, column in key.items() if looked_for not in named]
    if missing:
        raise Refused(
            f"{verb} must name the key of {name}: WHERE {missing[0]} = :{missing[0]}, "
            "joined by AND alone"
        )
    columns: dict[str, str] = {}
    for change in tree.args.get("expressions") or ():
        if not isinstance(change, exp.EQ) or not isinstance(change.this, exp.Column):
            raise Refused("SET changes plain columns")
        column = _column_name(change.this, dialect)
        if column in key:
            raise Refused(f"{verb} changes {column}, which is of the key")
        if isinstance(change.expression, exp.Placeholder):
            columns[column] = change.expression.name
    return {column.lower(): bound for column, bound in (columns | named).items()}


def _equal_to_parameters(condition: exp.Expr, dialect: str) -> Iterator[tuple[str, str]]:
    """``column = :name`` wherever nothing can widen it: joined by AND alone."""
    match condition:
        case exp.And() | exp.Paren():
            for part in condition.iter_expressions():
                yield from _equal_to_parameters(part, dialect)
        case exp.EQ(this=exp.Column() as column, expression=exp.Placeholder() as bound):
            yield _column_name(column, dialect), bound.name
