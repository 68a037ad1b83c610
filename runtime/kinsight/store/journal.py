"""Writes every change down with what undo needs, and takes the last one back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlite_utils import Database

from kinsight.errors import DuplicateName, NothingToUndo

Row = dict[str, Any]
NAME_COLUMNS = {"concept": "name_key", "alias": "alias_key"}
NOBODY = 0
"""Stands for the concept in a row that is about none."""


@dataclass(frozen=True)
class JournalEntry:
    """One change that can be undone."""

    id: int
    at: str  # UTC, ISO 8601
    verb: str
    summary: str  # what was done, in the past tense, names in double quotes


def now() -> str:
    """UTC, ISO 8601, in seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Change:
    """One change in the making, inside a transaction: every write goes through it and is remembered."""

    def __init__(self, db: Database, settle: Callable[[Change], None] = lambda change: None) -> None:
        """`settle` is called once all is written, before it is written down; it may write more, or raise."""
        self.db = db
        self._settle = settle
        self._rows: list[tuple[int, str, int, str | None]] = []  # concept, table, row, what was before

    def __bool__(self) -> bool:
        return bool(self._rows)

    def insert(self, table: str, row: Row) -> int:
        """Add a row, return its id."""
        row_id = _insert(self.db, table, row)
        self._rows.append((self._concept_of(table, row_id, row), table, row_id, None))
        return row_id

    def update(self, table: str, row_id: int, new: Row) -> None:
        """Give a row new values; only the columns that are named are kept for undo."""
        old = _read(self.db, table, row_id)
        before = pack({column: old[column] for column in new})
        self._rows.append((self._concept_of(table, row_id, old), table, row_id, before))
        _update(self.db, table, row_id, new)

    def delete(self, table: str, row_id: int) -> None:
        """Take a row away; what hangs on it has to be taken away before, or undo cannot bring it back."""
        old = _read(self.db, table, row_id)
        self._rows.append((self._concept_of(table, row_id, old), table, row_id, pack(old)))
        self.db.execute(f"delete from {table} where id = ?", (row_id,))

    def write_down(self, verb: str, summary: str) -> None:
        """Make the journal's entry of everything that was changed."""
        self._settle(self)
        entry = _insert(self.db, "journal", {"at": now(), "verb": verb, "summary": summary})
        self.db.conn.executemany(
            "insert into journal_row (journal_id, concept_id, table_name, row_id, before)"
            f" values ({entry}, ?, ?, ?, ?)",
            self._rows,
        )

    def rows(self, table: str) -> dict[int, bool]:
        """Id of each row of a table that was written -> whether it is new."""
        ids: dict[int, bool] = {}
        for _, one, row_id, before in self._rows:
            if one == table:
                ids[row_id] = ids.get(row_id, False) or before is None
        return ids

    def _concept_of(self, table: str, row_id: int, row: Row) -> int:
        if table == "concept":
            return row_id
        if table == "vector":
            row = _read(self.db, row["owner_kind"], row["owner_id"])
        return int(row.get("concept_id", NOBODY))


def undo_last(db: Database, count: int) -> list[str]:
    """Take the last changes back and out of the journal; return their summaries, the last change first.

    Raises:
        NothingToUndo: the journal has fewer than that.
        DuplicateName: as `undo`.
    """
    ((there,),) = db.execute("select count(*) from journal").fetchall()
    if 0 < there < count:
        what = "is only 1" if there == 1 else f"are only {there}"
        raise NothingToUndo(f"{count} changes cannot be undone, there {what}", "undo fewer")
    return [undo(db) for _ in range(count)]


def undo(db: Database) -> str:
    """Take the last change back and out of the journal; return its summary.

    Raises:
        NothingToUndo: the journal is empty.
        DuplicateName: a name that would come back has a new owner, which only forget makes possible.
    """
    entry = db.execute("select id, summary from journal order by id desc limit 1").fetchone()
    if entry is None:
        raise NothingToUndo("there is nothing to undo", "change something first; forget cannot be undone")
    rows = db.execute(
        "select table_name, row_id, before from journal_row where journal_id = ? order by id desc", entry[:1]
    ).fetchall()
    for table, row_id, before in rows:
        if before is None:
            db.execute(f"delete from {table} where id = ?", (row_id,))
        else:
            _restore(db, table, row_id, unpack(before))
    db.execute("delete from journal where id = ?", entry[:1])
    return str(entry[1])


def history(db: Database, limit: int) -> list[JournalEntry]:
    """The last entries, newest first."""
    rows = db.execute("select id, at, verb, summary from journal order by id desc limit ?", (limit,))
    return [JournalEntry(*row) for row in rows.fetchall()]


def pack(row: Row) -> str:
    """A row as JSON; bytes as {"base64": ...}."""
    return json.dumps(
        row, ensure_ascii=False, default=lambda data: {"base64": base64.b64encode(data).decode()}
    )


def unpack(text: str) -> Row:
    """The inverse of `pack`."""
    row: Row = json.loads(text)
    return {
        column: base64.b64decode(value["base64"]) if isinstance(value, dict) else value
        for column, value in row.items()
    }


def taken_by(db: Database, key: str) -> tuple[str, int] | None:
    """(table, row id) of the name or alias that has this key."""
    found: tuple[str, int] | None = db.execute(
        "select 'concept', id from concept where name_key = :key"
        " union all select 'alias', id from alias where alias_key = :key",
        {"key": key},
    ).fetchone()
    return found


def _restore(db: Database, table: str, row_id: int, before: Row) -> None:
    key = before.get(NAME_COLUMNS.get(table, ""))
    if key is not None and taken_by(db, key) not in (None, (table, row_id)):
        name = before.get("name", before.get("alias"))
        raise DuplicateName(
            f'the change cannot be undone, "{name}" is taken by now', "rename the other one first"
        )
    if db.execute(f"select 1 from {table} where id = ?", (row_id,)).fetchone():
        _update(db, table, row_id, before)
    else:
        _insert(db, table, before)


def _read(db: Database, table: str, row_id: int) -> Row:
    cursor = db.execute(f"select * from {table} where id = ?", (row_id,))
    return dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))


def _insert(db: Database, table: str, row: Row) -> int:
    marks = ", ".join(f":{column}" for column in row)
    cursor = db.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", row)
    return int(cursor.lastrowid or 0)


def _update(db: Database, table: str, row_id: int, new: Row) -> None:
    columns = ", ".join(f"{column} = :{column}" for column in new)
    db.execute(f"update {table} set {columns} where id = :id", {**new, "id": row_id})
