"""One rule for all verbs: no picture is both a view and a negative of one concept."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from sqlite_utils import Database

from kinsight.errors import ConceptError
from kinsight.store import reading
from kinsight.store.editing import drop_crop
from kinsight.store.journal import Change
from kinsight.store.showing import crops_shown
from kinsight.types import Concept, View


def settle(change: Change) -> None:
    """Hold what a change did to the crops of each concept against the rule; called before it is written down.

    A crop that is new and contradicts an old one is refused: either may be the mistake. Where a view was
    moved, or both are new, the user has said whom it shows, and the negative goes.

    Raises:
        ConceptError: a new view shows what a negative shows, or the other way round.
    """
    views, negatives = change.rows("view"), change.rows("negative")
    dropped: set[int] = set()
    for concept in _with_both(change.db, views, negatives):
        for view, negative in _contradictions(concept):
            if negative.id in dropped:
                continue
            new = views.get(view.id), negatives.get(negative.id)
            if False in new or new == (True, True):
                drop_crop(change, "negative", negative.id)
                dropped.add(negative.id)
            elif new[0]:
                raise _own_negative(concept, negative, several=sum(views.values()) > 1)
            elif new[1]:
                raise _own_view(concept, view, several=sum(negatives.values()) > 1)


def _with_both(db: Database, views: Iterable[int], negatives: Iterable[int]) -> list[Concept]:
    """The concepts to which some of these belong, by their ids, and that have a negative."""
    with_negative = {row[0] for row in db.execute("select distinct concept_id from negative")}
    touched: set[int] = set()
    for kind, crop_ids in (("view", views), ("negative", negatives)) if with_negative else ():
        for crop_id in crop_ids:
            row = db.execute(f"select concept_id from {kind} where id = ?", (crop_id,)).fetchone()
            touched |= {row[0]} if row else set()
    return [reading.concepts(db, concept_id)[0] for concept_id in sorted(touched & with_negative)]


def _contradictions(concept: Concept) -> list[tuple[View, View]]:
    """Every view and negative that are much the same box of one photo.

    Of copies that were saved anew the user may say what they like: recall takes care that a negative which
    looks like a view hides nobody (`evidence.COPY`).
    """
    views = {view.id: view for view in concept.views}
    return [
        (views[view_id], negative)
        for negative in concept.negatives
        for view_id in crops_shown(concept.views, negative.photo_sha256, negative.xyxy)
    ]


def _own_negative(concept: Concept, negative: View, several: bool) -> ConceptError:
    this, name = "one of these" if several else "this", shlex.quote(concept.name)
    leave = ", or leave it out" if several else ""
    return ConceptError(
        f'you said that {this} is not "{concept.name}": it is negative {negative.id} there',
        f"if it is, take that back first with `kinsight edit {name} --no-negative {negative.id}`{leave}",
    )


def _own_view(concept: Concept, view: View, several: bool) -> ConceptError:
    this, name = "one of these" if several else "this", shlex.quote(concept.name)
    return ConceptError(
        f'{this} is view {view.id} of "{concept.name}" itself, so it cannot be what it is not',
        f"if it was taught wrongly, `kinsight edit {name} --no-view {view.id}` takes it away, `kinsight move`"
        " moves it"
        if len(concept.views) > 1
        else f"it has no other view; if it was taught wrongly, `kinsight forget {name}` deletes all of it",
    )
