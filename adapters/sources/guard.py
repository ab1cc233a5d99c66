"""A query that only reads, by its grammar: parsed in the source's own dialect (sqlglot).

:func:`adapters.answers.statements.check_select` judges the form of a text before any source is
known; here the text is a tree of the dialect that will run it. Invariants of what passes:

- it is one statement, a query, and nothing in the tree writes, defines, locks or runs a command,
  wherever it stands (PostgreSQL writes inside ``WITH``, too);
- it calls no function that reaches files, other servers, other sessions or the clock's patience;
- what the parser does not understand does not pass.

Not checked: what a function or view of the source itself does. The read-only session and the
account's rights (:mod:`adapters.sources.accounts`) are the fences behind this one.
"""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

DIALECTS = {
    "sqlite": "sqlite",
    "postgresql": "postgres",
    "mariadb": "mysql",
    "mysql": "mysql",
    "oracle": "oracle",
    "mssql": "tsql",
}
"""SQLAlchemy's name of a dialect → sqlglot's."""

_REFUSED = (
    exp.DML,
    exp.DDL,
    exp.Command,
    exp.Into,
    exp.Lock,
    exp.Set,
    exp.Pragma,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    exp.Use,
    exp.Kill,
    exp.Execute,
    exp.SessionParameter,
    exp.NextValueFor,
    exp.WithTableHint,  # of SQL Server: locks
    exp.Parameter,  # @x of MariaDB and SQL Server can be assigned to
)
# Functions that do more than compute: by name, or by the beginning of a name.
REFUSED_FUNCTIONS = re.compile(
    r"""(?ix)
    load_file | load_extension | readfile | writefile | edit | fts3_tokenizer
  | sleep | benchmark | get_lock | release_lock | release_all_locks | master_pos_wait
  | set_config | nextval | setval | currval | lastval | query_to_xml.* | table_to_xml.*
  | cursor_to_xml.* | database_to_xml.* | schema_to_xml.*
  | dblink.* | lo_.* | pg_sleep.* | pg_read_.* | pg_ls_.* | pg_stat_file | pg_logdir_ls
  | pg_terminate_backend | pg_cancel_backend | pg_reload_conf | pg_rotate_logfile
  | pg_(try_)?advisory_.* | pg_notify | pg_switch_wal | pg_create_.* | pg_drop_.* | pg_file_.*
  | pg_logical_.* | pg_replication_.* | pg_promote | pg_import_.* | pg_execute.*
  | xp_.* | sp_.* | openrowset | opendatasource | openquery | waitfor
  | utl_.* | dbms_.* | httpuritype | sys_eval | sys_exec
    """
)


class Refused(ValueError):
    """Why a query is not one that only reads."""


def check_reads_only(query: str, dialect: str) -> None:
    """Check ``query`` by the grammar of ``dialect`` (SQLAlchemy's name).

    Raises:
        Refused: when it is not understood, is not one query, or holds what does more than read.
    """
    try:
        found = [one for one in sqlglot.parse(query, dialect=DIALECTS[dialect]) if one is not None]
    except (SqlglotError, RecursionError) as error:
        words = " ".join(str(error).split())[:200]
        raise Refused(f"the query is not understood as SQL of {dialect}: {words}") from error
    if len(found) != 1 or not isinstance(found[0], exp.Select | exp.SetOperation):
        raise Refused("the query is not one SELECT")
    if dialect == "mssql":
        _check_form(found[0])
    for node in found[0].walk():
        if isinstance(node, exp.Table):
            _check_place(node, dialect)
        if isinstance(node, _REFUSED):
            raise Refused(f"the query holds {node.key.upper()}, which does more than read")
        if isinstance(node, exp.Column) and node.name.lower() in ("nextval", "currval"):
            raise Refused("the query moves a sequence")  # Oracle's way to call it
        for name in function_names(node):
            if REFUSED_FUNCTIONS.fullmatch(name):
                raise Refused(f"the function {name} does more than compute")


def _check_form(query: exp.Expr) -> None:
    """What SQL Server does not take where the query will stand, inside another."""
    if query.args.get("with_") or query.args.get("with"):
        raise Refused("SQL Server has no WITH inside another query: make it a view")
    if query.args.get("order") and not query.args.get("limit"):
        raise Refused("SQL Server has no ORDER BY inside another query: the endpoint has an order")
    if query.args.get("options"):
        raise Refused("SQL Server has no OPTION and no FOR inside another query")


def _check_place(table: exp.Table, dialect: str) -> None:
    """Tables of other servers: ``server.database.schema.table``, ``table@link``."""
    far = dialect == "mssql" and isinstance(table.this, exp.Dot)
    if far or (dialect == "oracle" and "@" in table.name):
        raise Refused(f"the table {table.name} is one of another server")


def function_names(node: exp.Expr) -> tuple[str, ...]:
    """The parts of a function's name: of ``dbms_lock.sleep(1)`` both."""
    if isinstance(node, exp.Anonymous):
        owner = node.parent
        return (
            (*owner.sql().split("(")[0].split("."),) if isinstance(owner, exp.Dot) else (node.name,)
        )
    return (node.sql_name(),) if isinstance(node, exp.Func) else ()
