"""Writing what the database would refuse: the only way to see whether a proof finds it."""

from django.db import connection


def falsify(statement: str, ids: dict[str, str], *, tables: str) -> None:
    """Run a statement that the database would refuse: without the triggers and constraints of ``tables``."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in tables.split():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint"
                " WHERE (conrelid = %(table)s::regclass AND contype IN ('c', 'u')) OR (contype = 'f'"
                " AND %(table)s::regclass IN (conrelid, confrelid)) ORDER BY contype DESC",
                {"table": table},
            )
            for owner, constraint in cursor.fetchall():
                cursor.execute(f'ALTER TABLE {owner} DROP CONSTRAINT IF EXISTS "{constraint}" CASCADE')
            cursor.execute(
                "SELECT indexrelid::regclass::text FROM pg_index"
                " WHERE indrelid = %s::regclass AND indisunique AND NOT indisprimary",
                [table],
            )
            for (index,) in cursor.fetchall():  # a unique constraint with a condition is an index
                cursor.execute(f"DROP INDEX {index}")
        cursor.execute(statement, ids)
        assert cursor.rowcount >= 1, "the statement changed nothing"


def copied(table: str, key: str, where: str, **changes: str) -> str:
    """Return a statement that writes a row a second time, under another key."""
    changed = {key: "gen_random_uuid()"} | changes
    sets = ", ".join(f"{column} = {value}" for column, value in changed.items())
    return (
        f"CREATE TEMPORARY TABLE copied ON COMMIT DROP AS SELECT * FROM {table} WHERE {where};"
        f"UPDATE copied SET {sets}; INSERT INTO {table} SELECT * FROM copied"
    )
