"""Replaces the rows of one store by those of another, inside a transaction of the first."""

from __future__ import annotations

from sqlite_utils import Database

_OWN = ("_sqlite_migrations", "meta")
_HERE = "('generation', 'forgetting')"
"""What `meta` says of this file and not of its content."""


def replace_rows(db: Database) -> None:
    """Every table of `main` gets the rows of the same table of the attached `incoming`.

    Tables are emptied in the opposite order of their making and filled in that order, so what refers to a row
    goes before it and comes after it. Both have the same tables, as both were opened with this version.
    """
    tables = [name for name in tables_of(db, "main") if name not in _OWN]
    for table in reversed(tables):
        db.execute(f"delete from main.{table}")
    for table in tables:
        db.execute(f"insert into main.{table} select * from incoming.{table}")
    db.execute(f"delete from main.meta where key not in {_HERE}")
    db.execute(f"insert into main.meta select key, value from incoming.meta where key not in {_HERE}")
    theirs = "(select cast(value as integer) from incoming.meta where key = 'generation')"
    db.execute(
        f"update main.meta set value = 1 + max(cast(value as integer), {theirs}) where key = 'generation'"
    )


def tables_of(db: Database, schema: str) -> list[str]:
    """The tables in the order of their making, without SQLite's own."""
    rows = db.execute(
        f"select name from {schema}.sqlite_master where type = 'table'"
        " and substr(name, 1, 7) <> 'sqlite_' order by rowid"
    ).fetchall()
    return [str(row[0]) for row in rows]
