"""The changes themselves: each writes through a `Change` and says in a few words what it did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlite_utils import Database

from kinsight.errors import ConceptError, DuplicateName, StoreError
from kinsight.store import reading
from kinsight.store.journal import Change, now, taken_by
from kinsight.store.names import INFO_LENGTH, clean_name, clean_text, name_key
from kinsight.store.records import Changes, NewView, Owner
from kinsight.types import Concept, Floats, Kind, View


def remember(change: Change, name: str, category: str, info: str) -> int:
    """Add a concept that has no view yet, return its id."""
    if taken_by(change.db, name_key(name)) is not None:
        other = reading.concepts(change.db, reading.find(change.db, name))[0].name
        also = "" if name_key(other) == name_key(name) else f' as an alias of "{other}"'
        raise DuplicateName(
            f'"{name}" is in the store already{also}',
            "add another photo of the same one with --add, or choose another name",
        )
    at = now()
    return change.insert(
        "concept",
        {
            "name": name,
            "name_key": name_key(name),
            "category": category,
            "info": info,
            "created": at,
            "changed": at,
        },
    )


def add_crop(change: Change, kind: Kind, concept_id: int, view: NewView) -> None:
    """Add a view or a negative with its vectors."""
    x0, y0, x1, y1 = (float(value) for value in view.xyxy)
    crop = {
        "concept_id": concept_id,
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "photo_sha256": view.photo_sha256,
        "created": now(),
        "picture": view.picture_jpeg,
    }
    crop_id = change.insert(kind, crop)
    for embedder_id, vector in view.vectors().items():
        require_dimension(change.db, embedder_id, len(vector))
        change.insert("vector", vector_row((kind, crop_id), embedder_id, vector))


def chosen_views(concept: Concept, view_ids: Sequence[int], mend_for_all: str) -> list[int]:
    """The views, each once; ConceptError where one is not of this concept, or where none would be left."""
    wanted = chosen_crops(concept, "view", view_ids)
    if not wanted:
        raise ConceptError("no view was chosen", f'the views of "{concept.name}" are: {_ids(concept.views)}')
    if len(wanted) == len(concept.views):
        raise ConceptError(f'that would leave "{concept.name}" without any view', mend_for_all)
    return wanted


def chosen_crops(concept: Concept, kind: Kind, crop_ids: Sequence[int]) -> list[int]:
    """The crops, each once, rising; ConceptError where one is not of this concept."""
    crops = concept.crops(kind)
    own = {crop.id for crop in crops}
    wanted = sorted(set(crop_ids))
    for crop_id in wanted:
        if crop_id not in own:
            mend = f'the {kind}s of "{concept.name}" are: {_ids(crops)}'
            raise ConceptError(f'"{concept.name}" has no {kind} {crop_id}', mend)
    return wanted


def drop_crop(change: Change, kind: Kind, crop_id: int) -> None:
    """Take a view or a negative away with its vectors, such that undo brings all of it back."""
    vectors = change.db.execute(
        "select id from vector where owner_kind = ? and owner_id = ?", (kind, crop_id)
    ).fetchall()
    for (vector_id,) in vectors:
        change.delete("vector", vector_id)
    change.delete(kind, crop_id)


def touch(change: Change, concept_id: int) -> None:
    """A concept was changed just now."""
    change.update("concept", concept_id, {"changed": now()})


def edit(change: Change, concept: Concept, changes: Changes) -> list[str]:
    """Apply what differs; return what was done, one phrase a change."""
    done = [_drop_alias(change, concept, alias) for alias in changes.remove_aliases]
    done += _drop_crops(change, concept, changes)
    done += _change_fields(change, concept, changes)
    done += [phrase for alias in changes.add_aliases for phrase in _add_alias(change, concept.id, alias)]
    if done:
        touch(change, concept.id)
    return done


def put_vectors(db: Database, embedder_id: str, owners: Iterable[Owner], vectors: Floats) -> int:
    """Keep vectors (n, dim) of crops that are still there; return how many."""
    require_dimension(db, embedder_id, vectors.shape[1])
    kept = 0
    for owner, vector in zip(owners, vectors, strict=True):
        kind, crop_id = owner
        if db.execute(f"select 1 from {kind} where id = ?", (crop_id,)).fetchone():
            db.execute(
                "insert into vector (owner_kind, owner_id, embedder_id, dim, vector)"
                " values (:owner_kind, :owner_id, :embedder_id, :dim, :vector)"
                " on conflict (embedder_id, owner_kind, owner_id) do update set vector = excluded.vector",
                vector_row(owner, embedder_id, vector),
            )
            kept += 1
    return kept


def vector_row(owner: Owner, embedder_id: str, vector: Floats) -> dict[str, object]:
    """A vector (dim,) as a row: little-endian float32."""
    return {
        "owner_kind": owner[0],
        "owner_id": owner[1],
        "embedder_id": embedder_id,
        "dim": len(vector),
        "vector": vector.astype("<f4").tobytes(),
    }


def require_dimension(db: Database, embedder_id: str, dim: int) -> None:
    """StoreError where vectors of this embedder with another number of dimensions are stored."""
    known = reading.dimension(db, embedder_id)
    if known not in (None, dim):
        raise StoreError(
            f'the embedder "{embedder_id}" gives {dim} numbers, but {known} are stored under that id',
            "give the embedder of that bundle an id of its own",
        )


def _drop_crops(change: Change, concept: Concept, changes: Changes) -> list[str]:
    wanted: dict[Kind, list[int]] = {"view": [], "negative": []}
    if changes.remove_views:
        mend = "`kinsight forget` deletes all of it"
        wanted["view"] = chosen_views(concept, changes.remove_views, mend)
    wanted["negative"] = chosen_crops(concept, "negative", changes.remove_negatives)
    done = []
    for kind, crop_ids in wanted.items():
        for crop_id in crop_ids:
            drop_crop(change, kind, crop_id)
        if crop_ids:
            numbers = ", ".join(map(str, crop_ids))
            done.append(f'took {kind}{"s" * (len(crop_ids) > 1)} {numbers} of "{concept.name}" away')
    return done


def _ids(crops: Sequence[View]) -> str:
    return ", ".join(str(crop.id) for crop in crops) or "none"


def _drop_alias(change: Change, concept: Concept, alias: str) -> str:
    alias = clean_name(alias, "alias")
    row = change.db.execute(
        "select id, alias from alias where concept_id = ? and alias_key = ?", (concept.id, name_key(alias))
    ).fetchone()
    if row is None:
        have = ", ".join(f'"{other}"' for other in concept.aliases) or "none"
        raise ConceptError(f'"{alias}" is no alias of "{concept.name}"', f"its aliases are: {have}")
    change.delete("alias", row[0])
    return f'removed the alias "{row[1]}" of "{concept.name}"'


def _change_fields(change: Change, concept: Concept, changes: Changes) -> list[str]:
    new: dict[str, str] = {}
    done: list[str] = []
    if changes.name is not None and (name := clean_name(changes.name)) != concept.name:
        _make_room(change, concept.id, name)
        new.update(name=name, name_key=name_key(name))
        done.append(f'renamed "{concept.name}" to "{name}"')
    if (
        changes.category is not None
        and (category := clean_text(changes.category, "category")) != concept.category
    ):
        new["category"] = category
        done.append(f'changed the category of "{concept.name}"')
    if changes.info is not None and (info := clean_text(changes.info, "info", INFO_LENGTH)) != concept.info:
        new["info"] = info
        done.append(f'changed the info of "{concept.name}"')
    if new:
        change.update("concept", concept.id, new)
    return done


def _make_room(change: Change, concept_id: int, name: str) -> None:
    """An alias of the concept itself gives way to the name; anybody else's name does not."""
    owner = taken_by(change.db, name_key(name))
    if owner in (None, ("concept", concept_id)):
        return
    if reading.find(change.db, name) != concept_id:
        raise _not_free(name)
    assert owner is not None
    change.delete("alias", owner[1])


def _add_alias(change: Change, concept_id: int, alias: str) -> list[str]:
    alias = clean_name(alias, "alias")
    if taken_by(change.db, name_key(alias)) is None:
        change.insert("alias", {"concept_id": concept_id, "alias": alias, "alias_key": name_key(alias)})
        return [f'added the alias "{alias}"']
    if reading.find(change.db, alias) == concept_id:
        return []
    raise _not_free(alias)


def _not_free(name: str) -> DuplicateName:
    return DuplicateName(f'"{name}" is the name of another one in the store', "choose another name")
