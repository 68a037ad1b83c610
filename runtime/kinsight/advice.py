"""Says how well a concept is told apart from everybody else, and which photo of it would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from kinsight.evidence import Ids, Memory
from kinsight.image import decode, sharpness, sketch
from kinsight.index import Index, cosines
from kinsight.metrics import iou
from kinsight.recall import Rules, recall
from kinsight.store import Store
from kinsight.types import Concept, Decision, Floats, Match, Pixels, Regions, View

BLURRED = 0.07
"""Sharpness below which a picture is called blurred: sharp photos are above .12 (`docs/log.md`)."""
_SAME_PICTURE = 0.95
"""Product of two sketches from which on two views are nearly the same picture."""
_SAME_BOX = 0.5
_SAME_CROP = 0.9
"""Share of the union of two boxes of one photo where both are: near duplicates, and one and the same."""
_SMALL = 1 / 3
"""Share of the embedder's input that a view has to fill with pixels of its own."""
_NEAREST = 64


@dataclass(frozen=True)
class Likeness:
    """Another concept that looks like this one."""

    name: str
    similarity: float  # cosine of the view that looks most like it, -1..1
    probability: float  # that both are the same individual, as recall sees it, 0..1
    decision: Decision  # what recall would call that view if this concept were not known
    same_crop: bool = False  # both were taught from the same box of one photo


@dataclass(frozen=True)
class Telling:
    """How well a concept is told apart."""

    concept: str
    views: int
    recognised: int | None  # views that the other views are enough to recognise; None where there is only one
    unsure: int  # views that would only be a maybe
    look_alike: Likeness | None  # None where nobody else is known
    crowd: float | None  # cosine with the likest of the bundle's cohort but one; None without a cohort
    blurred: tuple[int, ...]  # ids of views, by which `show` numbers them
    small: tuple[int, ...]
    same: tuple[tuple[int, int], ...]  # pairs that are nearly the same picture

    @property
    def well(self) -> bool:
        """Nothing is to be mended; more views may help all the same."""
        other = self.look_alike
        confused = other is not None and (other.same_crop or other.decision != "unknown")
        return not (confused or self.blurred or self.small or self.same or self.missed)

    @property
    def missed(self) -> int:
        """Views that the others are not enough to recognise, not even as a maybe."""
        return 0 if self.recognised is None else self.views - self.recognised - self.unsure

    def lines(self) -> list[str]:
        """In words, the most helpful first."""
        name, advice = self.concept, []
        other = self.look_alike
        if other and other.same_crop:
            advice.append(
                f"{name} was taught from the same picture as {other.name}: merge them if they are one; if "
                "not, take the wrong one back with `undo` and point at the right one."
            )
        elif other and other.decision != "unknown":
            advice.append(
                f"{name} looks much like {other.name} ({other.similarity:.2f}): a photo of each that shows "
                "what differs would help, and say `not` where one is taken for the other."
            )
        advice += [f"{_views(self.blurred)} blurred: a sharper photo would help."] if self.blurred else []
        advice += [f"{_views(self.small)} very small: a closer photo would help."] if self.small else []
        advice += [
            f"Views {one} and {other} are nearly the same picture: one from another side would tell more."
            for one, other in self.same[:1]
        ]
        if self.missed:
            advice.append(
                f"{self.missed} of {self.views} views show {name} quite otherwise than the rest: if it is "
                f"{name}, one more photo like that would help."
            )
        if self.views == 1:
            advice.append(f"One more photo of {name} from the side would help.")
        return advice or [f"{name} is told apart well, from {self.views} views."]


def telling(concept: Concept, store: Store, memory: Memory, rules: Rules, side: int) -> Telling:
    """Judge one concept by leave-one-out over its views; `side` is the embedder's input, in pixels."""
    pictures = [decode(store.view_picture(view.id), concept.name).pixels for view in concept.views]
    mine = np.flatnonzero(memory.view_concepts == concept.id)
    vectors = memory.views.vectors[mine]
    near = _nearby(memory, vectors, concept.id)
    decisions = _left_out(near, concept.id, vectors, rules) if len(mine) > 1 else []
    return Telling(
        concept=concept.name,
        views=len(concept.views),
        recognised=decisions.count("accepted") if len(mine) > 1 else None,
        unsure=decisions.count("unsure"),
        look_alike=_with_crop(_look_alike(near, concept.id, vectors, rules), concept, store),
        crowd=_crowd(vectors, rules.cohort),
        blurred=tuple(
            view.id
            for view, picture in zip(concept.views, pictures, strict=True)
            if sharpness(picture) < BLURRED
        ),
        small=tuple(view.id for view in concept.views if _shorter(view) < _SMALL * side),
        same=_same(concept.views, pictures),
    )


def telling_json(told: Telling) -> dict[str, Any]:
    """The JSON shape of it."""
    other = told.look_alike
    alike = None
    if other:
        alike = {
            "concept": other.name,
            "similarity": round(other.similarity, 4),
            "probability": round(other.probability, 4),
            "decision": other.decision,
            "same_crop": other.same_crop,
        }
    return {
        "concept": told.concept,
        "well": told.well,
        "views": told.views,
        "recognised": told.recognised,
        "unsure": told.unsure,
        "look_alike": alike,
        "crowd": None if told.crowd is None else round(told.crowd, 4),
        "blurred": list(told.blurred),
        "small": list(told.small),
        "same": [list(pair) for pair in told.same],
        "advice": told.lines(),
    }


def _nearby(memory: Memory, vectors: Floats, concept_id: int) -> Memory:
    """All of those concepts that come near to these vectors, and of this one."""
    if not len(vectors):
        return _part(memory, np.zeros(0, np.int64))
    rows, _ = memory.views.search(vectors, min(len(memory.views), _NEAREST + len(vectors)))
    owners = np.unique(memory.view_concepts[rows.ravel()])
    return _part(memory, np.flatnonzero(np.isin(memory.view_concepts, np.append(owners, concept_id))))


def _part(memory: Memory, rows: Ids) -> Memory:
    """Only these views, with all negatives."""
    return replace(
        memory,
        view_ids=memory.view_ids[rows],
        view_concepts=memory.view_concepts[rows],
        views=Index(memory.views.vectors[rows], np.arange(len(rows), dtype=np.int64)),
    )


def _left_out(near: Memory, concept_id: int, vectors: Floats, rules: Rules) -> list[Decision]:
    """What recall says of each view when it is not among those that it knows."""
    mine = np.flatnonzero(near.view_concepts == concept_id)
    decisions: list[Decision] = []
    for row, vector in zip(mine, vectors, strict=True):
        match = _match(_part(near, np.delete(np.arange(len(near.view_ids)), row)), vector, rules)
        decisions.append(match.decision if match and match.concept_id == concept_id else "unknown")
    return decisions


def _look_alike(near: Memory, concept_id: int, vectors: Floats, rules: Rules) -> Likeness | None:
    """Whom recall takes the views for, were this concept not there: the worst of all views."""
    others = _part(near, np.flatnonzero(near.view_concepts != concept_id))
    matches = [match for vector in vectors if (match := _match(others, vector, rules))]
    if not matches:
        return None
    worst = max(matches, key=lambda match: (match.probability, match.similarity))
    return Likeness(worst.concept, worst.similarity, worst.probability, worst.decision)


def _match(memory: Memory, vector: Floats, rules: Rules) -> Match | None:
    """The likeliest concept, decided; None where nobody is known."""
    if not len(memory.view_ids):
        return None
    _, found = recall(Regions.none(), vector[np.newaxis], memory, rules)
    return found[0] if found else None


def _crowd(vectors: Floats, cohort: Floats) -> float | None:
    """The likest but one: the likest may be this very individual."""
    if len(cohort) < 2 or not len(vectors):
        return None
    return float(np.sort(cosines(cohort, vectors).max(axis=1))[-2])


def _shorter(view: View) -> float:
    """Pixels of the shorter side of its box in the source photo."""
    x0, y0, x1, y1 = view.xyxy
    return min(x1 - x0, y1 - y0)


def _same(views: Sequence[View], pictures: Sequence[Pixels]) -> tuple[tuple[int, int], ...]:
    sketches = [sketch(picture) for picture in pictures]
    pairs = []
    for one, other in combinations(range(len(views)), 2):
        same_box = _overlap(views[one], views[other]) >= _SAME_BOX
        if same_box or float(sketches[one] @ sketches[other]) >= _SAME_PICTURE:
            pairs.append((views[one].id, views[other].id))
    return tuple(pairs)


def _with_crop(other: Likeness | None, concept: Concept, store: Store) -> Likeness | None:
    """The same with `same_crop`."""
    if other is None:
        return None
    theirs = store.concept(other.name).views
    overlaps = [_overlap(mine, view) for mine in concept.views for view in theirs]
    return replace(other, same_crop=max(overlaps, default=0.0) >= _SAME_CROP)


def _overlap(one: View, other: View) -> float:
    """Share of the union of both boxes, 0..1; 0 in different photos."""
    return float(iou([one.xyxy], [other.xyxy])[0, 0]) if one.photo_sha256 == other.photo_sha256 else 0.0


def _views(numbers: Sequence[int]) -> str:
    """ "View 2 is", "Views 2 and 3 are"."""
    words = [str(number) for number in numbers]
    if len(words) == 1:
        return f"View {words[0]} is"
    return f"Views {', '.join(words[:-1])} and {words[-1]} are"
