"""Concepts that come from elsewhere: what becomes of names that are taken, and their rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from sqlite_utils import Database

from kinsight.errors import ConceptError, DuplicateName
from kinsight.store.journal import Change
from kinsight.store.names import INFO_LENGTH, NAME_LENGTH, clean_name, clean_text, name_key
from kinsight.store.records import Arrival, Incoming, IncomingCrop, OnConflict
from kinsight.types import Kind

_LISTED = 10


def settle(db: Database, incoming: Sequence[Incoming], on_conflict: OnConflict) -> list[Arrival]:
    """Under which name each of them is kept, and without which aliases; DuplicateName with "refuse"."""
    cleaned = [_cleaned(concept) for concept in incoming]
    taken = _keys(db)
    if on_conflict == "refuse":
        _refuse_taken(cleaned, taken)
    own = _own_keys(cleaned)
    arrivals = []
    for concept in cleaned:
        dropped = tuple(alias for alias in concept.aliases if name_key(alias) in taken)
        name: str | None = concept.name
        if name_key(concept.name) in taken:
            name = _numbered(concept.name, taken | own) if on_conflict == "rename" else None
        if name is not None:
            own.add(name_key(name))
        arrivals.append(Arrival(concept.name, name, dropped))
    return arrivals


def bring(change: Change, incoming: Sequence[Incoming], arrivals: Sequence[Arrival]) -> str:
    """Add the rows of those that are kept; return what was done."""
    names = []
    for concept, arrival in zip(map(_cleaned, incoming), arrivals, strict=True):
        if arrival.kept_as is not None:
            names.append(arrival.kept_as)
            _add(change, concept, arrival.kept_as, arrival.dropped_aliases)
    if len(names) > 3:
        return f"imported {len(names)} concepts"
    return "imported " + ", ".join(f'"{name}"' for name in names)


def _add(change: Change, concept: Incoming, name: str, dropped: Sequence[str]) -> None:
    fingerprint = None if concept.fingerprint is None else json.dumps(concept.fingerprint)
    concept_id = change.insert(
        "concept",
        {
            "name": name,
            "name_key": name_key(name),
            "category": concept.category,
            "info": concept.info,
            "fingerprint": fingerprint,
            "created": concept.created,
            "changed": concept.changed,
        },
    )
    for alias in concept.aliases:
        if alias not in dropped:
            row = {"concept_id": concept_id, "alias": alias, "alias_key": name_key(alias)}
            change.insert("alias", row)
    crops: tuple[tuple[Kind, Sequence[IncomingCrop]], ...]
    crops = (("view", concept.views), ("negative", concept.negatives))
    for kind, several in crops:
        for crop in several:
            change.insert(kind, _row(concept_id, crop))


def _row(concept_id: int, crop: IncomingCrop) -> dict[str, object]:
    x0, y0, x1, y1 = crop.xyxy
    return {
        "concept_id": concept_id,
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "photo_sha256": crop.photo_sha256,
        "created": crop.created,
        "picture": crop.read(),
    }


def _cleaned(concept: Incoming) -> Incoming:
    try:
        return replace(
            concept,
            name=clean_name(concept.name),
            aliases=tuple(clean_name(alias, "alias") for alias in concept.aliases),
            category=clean_text(concept.category, "category"),
            info=clean_text(concept.info, "info", INFO_LENGTH),
        )
    except ConceptError as error:
        problem = f'"{concept.name[: _LISTED * 4]}" cannot be brought in: {error.problem}'
        raise ConceptError(problem, error.mend) from None


def _keys(db: Database) -> set[str]:
    rows = db.execute("select name_key from concept union all select alias_key from alias").fetchall()
    return {row[0] for row in rows}


def _own_keys(incoming: Sequence[Incoming]) -> set[str]:
    """All names and aliases of the incoming; DuplicateName where one comes twice."""
    keys: set[str] = set()
    for concept in incoming:
        for name in (concept.name, *concept.aliases):
            if name_key(name) in keys:
                raise DuplicateName(f'two of the incoming are called "{name}"', "rename one of them there")
            keys.add(name_key(name))
    return keys


def _refuse_taken(incoming: Sequence[Incoming], taken: set[str]) -> None:
    names = [
        f'"{name}"'
        for concept in incoming
        for name in (concept.name, *concept.aliases)
        if name_key(name) in taken
    ]
    if names:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise DuplicateName(
            f"the store has {', '.join(names[:_LISTED])}{more} already; nothing was brought in",
            "leave them out with --on-conflict skip, or give them other names with --on-conflict rename",
        )


def _numbered(name: str, taken: set[str]) -> str:
    """ "Lala 2", or the first number that is free."""
    candidates = (f"{name[: NAME_LENGTH - len(str(n)) - 1].rstrip()} {n}" for n in count(2))
    return next(candidate for candidate in candidates if name_key(candidate) not in taken)
