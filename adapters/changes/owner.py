"""The SQL that the owner of a PostgreSQL database installs for the method ``log``.

A trigger writes the key of each row that is inserted, updated or deleted to a table, in the
transaction that changes the row: what is rolled back is not told, and what is committed cannot be
missed. The number of the transaction is written along, so that a reader passes by no entry of
one that began earlier and commits later. The adapter's account needs no right but SELECT.
"""

from __future__ import annotations

from adapters.changes.reading import LOG_TABLE
from adapters.mapping.changes import Changes, Log

CHANNEL = "saphan_changes"
# What ends the name of a trigger, when it fires, and for what.
_TRIGGERS = (("", "INSERT OR UPDATE OR DELETE", "ROW"), ("_emptied", "TRUNCATE", "STATEMENT"))
_COMMON = f"""\
CREATE TABLE IF NOT EXISTS {LOG_TABLE} (
    id bigserial PRIMARY KEY,
    xid bigint NOT NULL DEFAULT txid_current(),
    at timestamptz NOT NULL DEFAULT now(),
    topic text NOT NULL,
    key jsonb
);
CREATE INDEX IF NOT EXISTS saphan_changes_read ON {LOG_TABLE} (topic, xid, id);
CREATE INDEX IF NOT EXISTS saphan_changes_age ON {LOG_TABLE} (topic, at);

-- Arguments: the topic, the days to keep entries, the columns of the key.
CREATE OR REPLACE FUNCTION public.saphan_note() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    before jsonb;
    after jsonb;
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        SELECT jsonb_agg(to_jsonb(OLD) -> c ORDER BY n) INTO before
        FROM unnest(TG_ARGV[2:]) WITH ORDINALITY AS columns(c, n);
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        SELECT jsonb_agg(to_jsonb(NEW) -> c ORDER BY n) INTO after
        FROM unnest(TG_ARGV[2:]) WITH ORDINALITY AS columns(c, n);
    END IF;
    IF before IS NOT NULL THEN
        INSERT INTO {LOG_TABLE} (topic, key) VALUES (TG_ARGV[0], before);
    END IF;
    -- Without a key the whole table was emptied: of a row that is deleted nothing follows.
    IF (after IS NOT NULL AND after IS DISTINCT FROM before) OR TG_OP = 'TRUNCATE' THEN
        INSERT INTO {LOG_TABLE} (topic, key) VALUES (TG_ARGV[0], after);
    END IF;
    IF random() < 0.001 THEN
        DELETE FROM {LOG_TABLE} WHERE id IN (
            SELECT id FROM {LOG_TABLE}
            WHERE topic = TG_ARGV[0] AND at < now() - make_interval(days => TG_ARGV[1]::int)
            ORDER BY at LIMIT 5000 FOR UPDATE SKIP LOCKED
        );
    END IF;
    PERFORM pg_notify('{CHANNEL}', TG_ARGV[0]);
    RETURN NULL;
END
$$;
"""  # noqa: S608 (the name of a table)


def owner_sql(changes: Changes, log: Log, account: str | None) -> str:
    """What the owner runs once, as one who may create tables and triggers.

    Running it again changes nothing. ``account`` is who reads the log.
    """
    parts = ["BEGIN;", _COMMON]
    for table, columns in log.tables.items():
        arguments = ", ".join(f"'{word}'" for word in (changes.name, log.keep_days, *columns))
        for end, when, each in _TRIGGERS:
            trigger = _trigger(changes, end)
            parts.append(
                f"DROP TRIGGER IF EXISTS {trigger} ON {table};\n"
                f"CREATE TRIGGER {trigger} AFTER {when} ON {table}\n"
                f"    FOR EACH {each} EXECUTE PROCEDURE public.saphan_note({arguments});"
            )
    if account:
        name = account.replace('"', '""')
        parts.append(f'GRANT SELECT ON {LOG_TABLE} TO "{name}";')
    return "\n".join([*parts, "COMMIT;"])


def triggers(changes: Changes) -> list[tuple[str, str]]:
    """Each table of the log with the names of its triggers."""
    tables = changes.log.tables if changes.log else ()
    return [(table, _trigger(changes, end)) for table in tables for end, _, _ in _TRIGGERS]


def _trigger(changes: Changes, end: str) -> str:
    return f"saphan_{changes.name.replace('-', '_').lower()}{end}"
