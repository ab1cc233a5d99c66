"""Change events: what was created, changed and removed in a source, told at least once.

``events`` judges (no I/O), ``state`` remembers what was told, ``reading`` asks the source,
``views`` says for whom, ``rounds`` puts these together, ``listening`` waits for PostgreSQL's
notifications, ``owner`` writes the SQL that the owner of a PostgreSQL database installs, and
``noted`` is that of MariaDB with what reads it. docs/adr/0066 and 0073 have the reasons.
"""
