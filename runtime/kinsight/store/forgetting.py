"""Deletes a concept for good, with every trace of it in the journal and among the negatives of others."""

from __future__ import annotations

from sqlite_utils import Database

from kinsight.store.journal import NAME_COLUMNS, unpack
from kinsight.store.names import name_key
from kinsight.store.showing import negatives_that_show
from kinsight.types import Concept

_TEXT_COLUMNS = ("category", "info", "fingerprint")


def forget(db: Database, concept: Concept) -> None:
    """Delete a concept, its pictures among the negatives of others, and what the journal knows of either.

    An entry knows of it that touches it or mentions one of its names. Where such an entry is about another
    concept, the older ones about that concept go with it: undo must not jump over a change.
    """
    keys = {name_key(name) for name in concept.names} | _former_keys(db, concept.id)
    shown = negatives_that_show(db, concept)
    touched = {concept.id}
    for entry, summary in db.execute("select id, summary from journal order by id desc").fetchall():
        rows = db.execute(
            "select concept_id, table_name, row_id, before from journal_row where journal_id = ?", (entry,)
        ).fetchall()
        concepts = {row[0] for row in rows}
        told = any(f'"{key}"' in name_key(summary) for key in keys)
        seen = any(table == "negative" and row_id in shown for _, table, row_id, _ in rows)
        if told or seen or concepts & touched or any(_mentions(row[3], keys) for row in rows):
            touched |= concepts
            db.execute("delete from journal where id = ?", (entry,))
    for row_id in shown:
        db.execute("delete from negative where id = ?", (row_id,))
    db.execute("delete from concept where id = ?", (concept.id,))


def _former_keys(db: Database, concept_id: int) -> set[str]:
    """Keys of the names and aliases that it once had, or that those had which were merged into it."""
    rows = db.execute(
        "with recursive same (id) as (values (?) union"
        " select other.concept_id from same join journal_row own on own.concept_id = same.id"
        " join journal_row other on other.journal_id = own.journal_id"
        " where other.concept_id not in (select id from concept))"
        " select before from journal_row where concept_id in (select id from same)"
        " and table_name in ('concept', 'alias') and before is not null",
        (concept_id,),
    ).fetchall()
    values = [unpack(before) for (before,) in rows]
    return {row[column] for row in values for column in NAME_COLUMNS.values() if column in row}


def _mentions(before: str | None, keys: set[str]) -> bool:
    """Some text that was replaced contains one of the names."""
    if before is None:
        return False
    row = unpack(before)
    texts = [name_key(str(row[column])) for column in _TEXT_COLUMNS if row.get(column)]
    return any(key in text for text in texts for key in keys)
