"""Puts right who is who: two concepts become one, one becomes two, views go to another concept."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kinsight.errors import ConceptError, DuplicateName
from kinsight.store import editing, reading
from kinsight.store.journal import Change, taken_by
from kinsight.store.names import INFO_LENGTH, name_key
from kinsight.types import Concept


def merge(change: Change, gone: Concept, kept: Concept) -> str:
    """All of `gone` goes to `kept`, its name as an alias; return what was done.

    Infos are put below each other; category and fingerprint are those of `kept` where it has some.
    """
    if gone.id == kept.id:
        raise ConceptError(f'"{kept.name}" cannot be merged into itself', "name two different ones")
    _hand_over(change, gone, kept)
    row = {"category": kept.category or gone.category, "info": _joined(gone, kept)}
    ours, theirs = (_fingerprint(change, concept) for concept in (kept, gone))
    new = {**row, "fingerprint": ours or theirs}
    change.delete("concept", gone.id)
    change.insert("alias", {"concept_id": kept.id, "alias": gone.name, "alias_key": name_key(gone.name)})
    change.update("concept", kept.id, new)
    editing.touch(change, kept.id)
    return f'merged "{gone.name}" into "{kept.name}"'


def split(change: Change, concept: Concept, view_ids: Sequence[int], name: str) -> tuple[int, str]:
    """These views become a concept of their own, of the same category; return its id and what was done.

    An alias of `concept` may become the new name.
    """
    chosen = editing.chosen_views(
        concept, view_ids, f'rename "{concept.name}", if it is to have another name'
    )
    _free_alias(change, concept, name)
    try:
        new_id = editing.remember(change, name, concept.category, "")
    except DuplicateName as taken:
        numbers = " ".join(map(str, chosen))
        there = f"--from {shlex.quote(concept.name)} --to {shlex.quote(name)}"
        mend = f"`kinsight move {numbers} {there}` gives it these views, or choose another name"
        raise DuplicateName(taken.problem, mend) from None
    _take_over(change, chosen, new_id)
    editing.touch(change, concept.id)
    return new_id, f'split {_views(chosen)} of "{concept.name}" off as "{name}"'


def move(change: Change, source: Concept, target: Concept, view_ids: Sequence[int]) -> str:
    """These views of one concept go to another; return what was done."""
    if source.id == target.id:
        raise ConceptError(f'the views are of "{target.name}" already', "name two different concepts")
    chosen = editing.chosen_views(
        source, view_ids, f'merge "{source.name}" into "{target.name}", if they are the same'
    )
    _take_over(change, chosen, target.id)
    editing.touch(change, source.id)
    editing.touch(change, target.id)
    return f'moved {_views(chosen)} of "{source.name}" to "{target.name}"'


def _take_over(change: Change, view_ids: Sequence[int], concept_id: int) -> None:
    for view_id in view_ids:
        change.update("view", view_id, {"concept_id": concept_id})


def _hand_over(change: Change, gone: Concept, kept: Concept) -> None:
    """Views, negatives and aliases, so that nothing hangs on `gone` any more."""
    for table in ("view", "negative", "alias"):
        rows = change.db.execute(f"select id from {table} where concept_id = ?", (gone.id,)).fetchall()
        for (row_id,) in rows:
            change.update(table, row_id, {"concept_id": kept.id})


def _free_alias(change: Change, concept: Concept, name: str) -> None:
    match taken_by(change.db, name_key(name)):
        case ("alias", row_id) if reading.find(change.db, name) == concept.id:
            change.delete("alias", row_id)


def _joined(gone: Concept, kept: Concept) -> str:
    if gone.info in kept.info:
        return kept.info
    if kept.info in gone.info:
        return gone.info
    joined = f"{kept.info}\n{gone.info}"
    if len(joined) > INFO_LENGTH:
        raise ConceptError(
            f'the infos of "{kept.name}" and "{gone.name}" have {len(joined)} characters together,'
            f" at most {INFO_LENGTH} can be kept",
            "shorten one of them first",
        )
    return joined


def _fingerprint(change: Change, concept: Concept) -> str | None:
    row = change.db.execute("select fingerprint from concept where id = ?", (concept.id,)).fetchone()
    return None if row[0] is None else str(row[0])


def _views(chosen: Sequence[int]) -> str:
    return "1 view" if len(chosen) == 1 else f"{len(chosen)} views"
