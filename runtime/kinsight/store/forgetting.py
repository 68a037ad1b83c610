"""Deletes a concept for good, with every trace of it in the journal and among the negatives of others."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
from sqlite_utils import Database

from kinsight.store.editing import chosen_crops, chosen_views
from kinsight.store.journal import NAME_COLUMNS, NOBODY, Row, unpack
from kinsight.store.names import name_key
from kinsight.store.records import Forgotten, ForgottenCrop, Owner
from kinsight.store.shelf import take_out
from kinsight.store.shelf_records import parts_above
from kinsight.store.showing import crops_shown, negatives_that_show
from kinsight.types import Concept, Floats, Kind, View

_TEXT_COLUMNS = ("category", "info", "fingerprint")
_LEAST_PART = 3  # letters; shorter names are parts of too many words


def would_forget(db: Database, concept: Concept) -> Forgotten:
    """What `forget` would do, without doing it."""
    return _plan(db, concept).outcome


def forget(db: Database, concept: Concept) -> Forgotten:
    """Delete a concept, its pictures among the negatives of others, and what journal and album know of it.

    A photo leaves the album, thumbnail and vectors and all, where it shows the concept or its path names it;
    the file stays where it is. Only leaving the region out would not do: the thumbnail and the vector of the
    whole photo show it too, and what stays unnamed would soon ask for a name in the inbox.

    An entry knows of it that touches it or mentions one of its names, unless as a part of another's name.
    Where such an entry is about another concept, the older ones about that concept go with it: undo must not
    jump over a change.

    What the user wrote about others is theirs and stays, also where it names the forgotten.
    """
    plan = _plan(db, concept)
    for entry in plan.entries:
        db.execute("delete from journal where id = ?", (entry,))
    take_out(db, plan.photos)
    for row_id in plan.negatives:
        db.execute("delete from negative where id = ?", (row_id,))
    db.execute("delete from concept where id = ?", (concept.id,))
    return plan.outcome


def would_forget_crop(db: Database, concept: Concept, owner: Owner) -> ForgottenCrop:
    """What `forget_crop` would do, without doing it."""
    return _crop_plan(db, concept, owner)[2]


def forget_crop(db: Database, concept: Concept, owner: Owner) -> ForgottenCrop:
    """Delete one view or negative and its copies, of a view also negatives of others that are the same crop.

    Copies are crops of the same concept with the very same picture. The journal's entries that hold any of
    these go, and older ones about the same concepts too, as undo must not jump over a change. It may be one
    that was taken away and is in the journal only. ConceptError where it is none of this concept, or no other
    view would be left.
    """
    gone, entries, outcome = _crop_plan(db, concept, owner)
    for entry in entries:
        db.execute("delete from journal where id = ?", (entry,))
    for kind, crop_id in gone:
        db.execute(f"delete from {kind} where id = ?", (crop_id,))
    return outcome


def _crop_plan(
    db: Database, concept: Concept, owner: Owner
) -> tuple[set[tuple[str, int]], list[int], ForgottenCrop]:
    """The crops and the entries of the journal that go, and what is to be told of it."""
    kind, crop_id = owner
    former = _taken_away(db, kind, _with_those_merged(db, concept.id))
    crops = {crop.id: crop for crop in (*concept.crops(kind), *map(_view, former.values()))}
    if crop_id not in crops:
        chosen_crops(concept, kind, [crop_id])
    own = db.execute(f"select id, picture from {kind} where concept_id = ?", (concept.id,)).fetchall()
    pictures = {**dict(own), **{one: row["picture"] for one, row in former.items()}}
    same = {one for one, picture in pictures.items() if picture == pictures[crop_id]}
    if kind == "view" and same - former.keys():
        mend = "`kinsight forget` without --view deletes all of it"
        chosen_views(concept, sorted(same - former.keys()), mend)
    gone: set[tuple[str, int]] = {(kind, one) for one in same}
    if kind == "view":
        shown = replace(concept, views=tuple(crops[one] for one in sorted(same)))
        gone |= {("negative", one) for one in _negatives_of_others(db, shown)}
    touched: set[int] = set()
    entries = []
    for (entry,) in db.execute("select id from journal order by id desc").fetchall():
        rows = db.execute(
            "select concept_id, table_name, row_id from journal_row where journal_id = ?", (entry,)
        ).fetchall()
        concepts = {row[0] for row in rows}
        if concepts & touched or gone & {row[1:] for row in rows}:
            touched |= concepts
            entries.append(entry)
    sha256 = crops[crop_id].photo_sha256
    photo = db.execute("select path from album_photo where sha256 = ?", (sha256,)).fetchone()
    copies = tuple(sorted(same - {crop_id}))
    return gone, entries, ForgottenCrop(len(entries), photo[0] if photo else None, copies)


def _negatives_of_others(db: Database, concept: Concept) -> set[int]:
    """Ids of the negatives of others that show this one; those that were taken away count as well."""
    former = [_view(row) for row in _taken_away(db, "negative", None).values()]
    shown = {one for view in concept.views for one in crops_shown(former, view.photo_sha256, view.xyxy)}
    return negatives_that_show(db, concept) | shown


def _taken_away(db: Database, kind: Kind, concepts: Sequence[int] | None) -> dict[int, Row]:
    """Id -> row of a view or negative that is only in the journal any more; of these concepts, or of all."""
    rows = db.execute(
        "select row_id, before from journal_row where table_name = :kind and before is not null"
        " and (:concepts is null or concept_id in (select value from json_each(:concepts)))"
        f" and not exists (select 1 from {kind} where id = row_id)",
        {"kind": kind, "concepts": None if concepts is None else json.dumps(concepts)},
    ).fetchall()
    crops = {row_id: unpack(before) for row_id, before in rows}
    return {row_id: row for row_id, row in crops.items() if "picture" in row}


def _view(row: Row) -> View:
    return View(row["id"], (row["x0"], row["y0"], row["x1"], row["y1"]), row["photo_sha256"], row["created"])


def _with_those_merged(db: Database, concept_id: int) -> list[int]:
    """Its id and those of the concepts that were merged into it, or into one of these."""
    rows = db.execute(
        "with recursive same (id) as (values (?) union"
        " select other.concept_id from same join journal_row own on own.concept_id = same.id"
        " join journal on journal.id = own.journal_id and verb = 'merge'"
        " join journal_row other on other.journal_id = journal.id"
        " where other.concept_id not in (select id from concept)) select id from same",
        (concept_id,),
    ).fetchall()
    return [row[0] for row in rows]


@dataclass(frozen=True)
class _Plan:
    """Ids of the rows that go with a concept, and what of that is to be told."""

    entries: tuple[int, ...]
    photos: set[int]
    negatives: set[int]
    outcome: Forgotten


def _plan(db: Database, concept: Concept) -> _Plan:
    keys = {name_key(name) for name in concept.names} | _former_keys(db, concept.id)
    others = _names_of_others(db, concept.id, keys)
    shown = _negatives_of_others(db, concept)
    photos = _photos_of(db, concept, keys, others)
    strangers = {NOBODY, *(row[0] for row in db.execute("select id from concept"))} - {concept.id}
    touched, entries, changes = {concept.id}, [], 0
    for entry, summary in db.execute("select id, summary from journal order by id desc").fetchall():
        rows = db.execute(
            "select concept_id, table_name, row_id, before from journal_row where journal_id = ?", (entry,)
        ).fetchall()
        concepts = {row[0] for row in rows}
        told = _named_in(_without(summary, others), keys)
        seen = any(table == "negative" and row_id in shown for _, table, row_id, _ in rows)
        if told or seen or concepts & touched or any(_mentions(row[3], keys, others) for row in rows):
            touched |= concepts
            entries.append(entry)
            changes += bool(concepts & strangers)
    outcome = Forgotten(len(photos), _mentioned_by(db, keys, concept.id), changes)
    return _Plan(tuple(entries), photos, shown, outcome)


def _mentioned_by(db: Database, keys: set[str], concept_id: int) -> tuple[str, ...]:
    """The other concepts whose name, aliases, category or info still have one of the names in them."""
    texts = db.execute(
        "select name, name || char(10) || category || char(10) || info || char(10) || coalesce("
        "(select group_concat(alias, char(10)) from alias where concept_id = concept.id), '')"
        " from concept where id <> ? order by id",
        (concept_id,),
    )
    return tuple(name for name, text in texts.fetchall() if _named_in(text, keys))


def _photos_of(db: Database, concept: Concept, keys: set[str], others: Sequence[str]) -> set[int]:
    """Photos of the album that it was taught from, whose path names it, or in which it may be recognised.

    What is alike is judged as when the photos were added, a maybe included: rather too many leave than one
    that shows it stays. An embedder that has seen no view of it recognises it nowhere.
    """
    hashes = {view.photo_sha256 for view in concept.views}
    found = {
        photo_id
        for photo_id, sha256, path, above in db.execute("select id, sha256, path, above from album_photo")
        if sha256 in hashes or _names(path, above, keys, others)
    }
    for embedder_id, alike in db.execute("select id, alike from album_embedder").fetchall():
        views = _vectors_of(db, concept.id, embedder_id)
        if not len(views):
            continue
        for photo_id, vector in db.execute(
            "select id, vector from album_photo where embedder_id = :seer union all"
            " select photo_id, album_region.vector from album_region"
            " join album_photo on album_photo.id = photo_id where embedder_id = :seer",
            {"seer": embedder_id},
        ):
            if photo_id not in found and (views @ np.frombuffer(vector, "<f4") >= alike).any():
                found.add(photo_id)
        for photo_id, vectors in db.execute(
            "select photo_id, vectors from album_face where recogniser_id = ?", (embedder_id,)
        ):
            faces = np.frombuffer(vectors, "<f4").reshape(-1, views.shape[1])
            if (views @ faces.T >= alike).any():
                found.add(photo_id)
    return found


def _names(path: str, above: int | None, keys: set[str], others: Sequence[str]) -> bool:
    """A photo's path names it, from the folder on that was added; those above are the user's own.

    Where it was added before this was kept, from the folder on that it lies in. What others are called does
    not count, also with - or _ for spaces.
    """
    parts = PurePath(path).parts[parts_above(Path(path).parent) if above is None else above :]
    spelt = [other.replace(" ", joint) for other in others for joint in " -_"]
    return any(_named_in(_without(part, spelt), keys) for part in parts)


def _named_in(text: str, keys: set[str]) -> bool:
    """A name stands in the text, a path say, and is no part of a longer word.

    Letters of scripts without capitals may stand beside it: there are no spaces, or small words are joined.
    """
    text = name_key(text)
    for key in keys:
        start = text.find(key)
        while start >= 0:
            if not _goes_on(text[max(start - 1, 0) : start]) and not _goes_on(text[start + len(key) :][:1]):
                return True
            start = text.find(key, start + 1)
    return False


def _goes_on(neighbour: str) -> bool:
    return neighbour != "" and unicodedata.category(neighbour) in ("Ll", "Lu", "Lt")


def _vectors_of(db: Database, concept_id: int, embedder_id: str) -> Floats:
    """float32 (n, dim): what an embedder made of the views; (0, 0) leaves nothing to compare with."""
    rows = db.execute(
        "select vector.vector from vector join view on view.id = owner_id"
        " where owner_kind = 'view' and concept_id = ? and embedder_id = ?",
        (concept_id, embedder_id),
    ).fetchall()
    return np.array([np.frombuffer(row[0], "<f4") for row in rows], np.float32)


def _former_keys(db: Database, concept_id: int) -> set[str]:
    """Keys of the names and aliases that it once had, or that those had which were merged into it."""
    rows = db.execute(
        "select before from journal_row where concept_id in (select value from json_each(?))"
        " and table_name in ('concept', 'alias') and before is not null",
        (json.dumps(_with_those_merged(db, concept_id)),),
    ).fetchall()
    values = [unpack(before) for (before,) in rows]
    return {row[column] for row in values for column in NAME_COLUMNS.values() if column in row}


def _names_of_others(db: Database, concept_id: int, keys: set[str]) -> list[str]:
    """Keys of what others are called now that have one of the names in them, longest first."""
    rows = db.execute(
        "select name_key from concept where id <> :id"
        " union all select alias_key from alias where concept_id <> :id",
        {"id": concept_id},
    )
    return sorted((key for (key,) in rows if _named_in(key, keys)), key=len, reverse=True)


def _without(text: str, others: Sequence[str]) -> str:
    text = name_key(text)
    for other in others:
        text = text.replace(other, "")
    return text


def _mentions(before: str | None, keys: set[str], others: Sequence[str]) -> bool:
    """Something that was replaced has one of the names in it; in a text also as a part of a longer word."""
    if before is None:
        return False
    row = unpack(before)
    texts = [name_key(str(row[column])) for column in _TEXT_COLUMNS if row.get(column)]
    if any(key in text for text in texts for key in keys if len(key) >= _LEAST_PART):
        return True
    names = [_without(str(row[column]), others) for column in ("name", "alias") if row.get(column)]
    return any(_named_in(text, keys) for text in (*texts, *names))
