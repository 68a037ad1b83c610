"""Reads concepts, pictures and vectors from the tables, a handful of queries for any number of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from kinsight.errors import StoreError
from kinsight.store.journal import taken_by
from kinsight.store.names import clean_name, name_key, unknown
from kinsight.store.records import Owner, Vectors
from kinsight.types import Concept, Floats, Kind, View

Ids = NDArray[np.int64]
_COUNTED = ("concept", "alias", "view", "negative", "vector", "journal")


def find(db: Database, name: str) -> int:
    """Id of the concept with this name or alias; UnknownConcept with those that come close."""
    name = clean_name(name)
    match taken_by(db, name_key(name)):
        case ("concept", row_id):
            return row_id
        case ("alias", row_id):
            return int(db.execute("select concept_id from alias where id = ?", (row_id,)).fetchone()[0])
    known = db.execute("select name from concept union all select alias from alias").fetchall()
    raise unknown(name, [row[0] for row in known])


def concepts(db: Database, concept_id: int | None = None) -> list[Concept]:
    """All concepts in the order in which they were named, or the one with this id."""
    only = "" if concept_id is None else " where {} = :id"
    mine, theirs = only.format("id"), only.format("concept_id")
    given = {"id": concept_id}
    aliases: dict[int, list[str]] = defaultdict(list)
    for owner, alias in db.execute(f"select concept_id, alias from alias{theirs} order by id", given):
        aliases[owner].append(alias)
    crops = {kind: _crops(db, kind, theirs, given) for kind in ("view", "negative")}
    rows = db.execute(
        f"select id, name, category, info, fingerprint, created, changed from concept{mine} order by id",
        given,
    ).fetchall()
    return [
        Concept(
            id=row_id,
            name=name,
            aliases=tuple(aliases[row_id]),
            category=category,
            info=info,
            fingerprint=json.loads(fingerprint) if fingerprint else None,
            views=tuple(crops["view"][row_id]),
            negatives=tuple(crops["negative"][row_id]),
            created=created,
            changed=changed,
        )
        for row_id, name, category, info, fingerprint, created, changed in rows
    ]


def labels(db: Database) -> list[tuple[int, str, str]]:
    """(id, name, category) of all concepts, in the order in which they were named."""
    return db.execute("select id, name, category from concept order by id").fetchall()


def picture(db: Database, kind: Kind, crop_id: int) -> bytes:
    """The encoded picture of a view or negative."""
    row = db.execute(f"select picture from {kind} where id = ?", (crop_id,)).fetchone()
    if row is None:
        raise StoreError(
            f"there is no {kind} {crop_id} in the store", "read the concepts again, they were changed"
        )
    return bytes(row[0])


def vectors(db: Database, embedder_id: str) -> Vectors:
    """Everything that one embedder has computed."""
    view_ids, view_concepts, views = _vectors(db, "view", embedder_id)
    negative_ids, negative_concepts, negatives = _vectors(db, "negative", embedder_id)
    dim = max(views.shape[1], negatives.shape[1])
    return Vectors(
        generation=generation(db),
        view_ids=view_ids,
        view_concepts=view_concepts,
        views=views.reshape(len(view_ids), dim),
        negative_ids=negative_ids,
        negative_concepts=negative_concepts,
        negatives=negatives.reshape(len(negative_ids), dim),
    )


def without_vector(db: Database, embedder_id: str) -> list[Owner]:
    """The crops that this embedder has not seen."""
    missing = (
        "select '{0}', id from {0} where id not in"
        " (select owner_id from vector where owner_kind = '{0}' and embedder_id = :embedder)"
    )
    sql = " union all ".join(missing.format(kind) for kind in ("view", "negative"))
    return [(kind, row_id) for kind, row_id in db.execute(sql, {"embedder": embedder_id}).fetchall()]


def dimension(db: Database, embedder_id: str) -> int | None:
    """Numbers in a vector of this embedder, None where there is none yet."""
    sql = "select dim from {} where embedder_id = :embedder".format
    both = f"{sql('vector')} union all {sql('album_photo')} limit 1"
    row = db.execute(both, {"embedder": embedder_id}).fetchone()
    return None if row is None else int(row[0])


def generation(db: Database) -> int:
    """How many changes there were."""
    ((value,),) = db.execute("select value from meta where key = 'generation'").fetchall()
    return int(value)


def index_seal(db: Database, embedder_id: str) -> str | None:
    """The sha256, in hex, of the index file of this embedder; None where none fits what is there now."""
    row = db.execute("select value from meta where key = ?", (f"index {embedder_id}",)).fetchone()
    written, _, sha256 = str(row[0]).partition(" ") if row else ("", "", "")
    return sha256 if written == str(generation(db)) else None


def counts(db: Database) -> dict[str, int]:
    """Rows in every table that matters to the user."""
    sql = ", ".join(f"(select count(*) from {table})" for table in _COUNTED)
    return dict(zip(_COUNTED, db.execute(f"select {sql}").fetchone(), strict=True))


def _crops(db: Database, kind: str, theirs: str, given: dict[str, Any]) -> dict[int, list[View]]:
    crops: dict[int, list[View]] = defaultdict(list)
    sql = f"select concept_id, id, x0, y0, x1, y1, photo_sha256, created from {kind}{theirs} order by id"
    for owner, row_id, x0, y0, x1, y1, photo, created in db.execute(sql, given):
        crops[owner].append(View(row_id, (x0, y0, x1, y1), photo, created))
    return crops


def _vectors(db: Database, kind: Kind, embedder_id: str) -> tuple[Ids, Ids, Floats]:
    rows = db.execute(
        f"select {kind}.id, {kind}.concept_id, vector.dim, vector.vector from vector"
        f" join {kind} on {kind}.id = vector.owner_id"
        " where vector.owner_kind = ? and vector.embedder_id = ?"
        f" order by {kind}.id",
        (kind, embedder_id),
    ).fetchall()
    dim = rows[0][2] if rows else 0
    joined = b"".join(row[3] for row in rows)
    numbers = np.frombuffer(joined, "<f4").astype(np.float32)  # a copy of its own lies in large pages
    return _ids(row[0] for row in rows), _ids(row[1] for row in rows), numbers.reshape(len(rows), dim)


def _ids(values: Iterable[int]) -> Ids:
    return np.fromiter(values, np.int64)
