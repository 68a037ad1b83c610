"""What recall decided about a scene, in words: who is where, who may be there, what else there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kinsight.metrics import find_names, iou, names_mentioned
from kinsight.recall import SURE_LABEL
from kinsight.types import Box, Concept, Regions, Scene

NOTABLE_SCORE = 0.4
"""An unnamed region is worth a word from this detector score on."""
_SAME_THING_IOU = 0.5
_MOST_OF_IT = 0.6


@dataclass(frozen=True)
class Seen:
    """A concept in a photo."""

    concept: Concept
    position: str  # "on the left"; "" where only the whole photo tells
    label: str  # what kind of thing it is; "" where only the whole photo tells
    beside: Concept | str = ""  # whom or what is nearest to it, a thing as "a cup"; "" where it is alone


@dataclass(frozen=True)
class Facts:
    """What may be said of a photo."""

    accepted: tuple[Seen, ...]
    unsure: tuple[Seen, ...]
    others: tuple[str, ...]  # "a cup on the right"


def facts_of(scene: Scene, concepts: Sequence[Concept]) -> Facts:
    """The facts of a scene; concepts that the store no longer has are left out."""
    by_id = {concept.id: concept for concept in concepts}

    accepted = [
        (row, by_id[match.concept_id]) for row, match in scene.accepted() if match.concept_id in by_id
    ]
    unsure = [(row, by_id[match.concept_id]) for row, match in scene.unsure() if match.concept_id in by_id]
    kinds = {row: _kind(one, scene.regions, row) for row, one in (*accepted, *unsure) if row is not None}
    others = {row: a_thing(scene.regions.labels[row]) for row in notable(scene.regions, list(kinds))}
    shown: dict[int, Concept | str] = {row: a_thing(kinds[row]) for row, _ in unsure if row is not None}
    shown |= others | {row: one for row, one in accepted if row is not None}

    def seen(row: int | None, concept: Concept) -> Seen:
        if row is None:
            return Seen(concept, "", "")
        beside = _nearest(scene.regions, row, shown)
        return Seen(concept, place(scene, row), kinds[row], "" if beside is None else shown[beside])

    return Facts(
        tuple(seen(row, concept) for row, concept in accepted),
        tuple(seen(row, concept) for row, concept in unsure),
        tuple(f"{thing} {place(scene, row)}" for row, thing in others.items()),
    )


def _nearest(regions: Regions, row: int, rows: Iterable[int]) -> int | None:
    """Of some rows that whose centre is nearest to this one's; None where there is no other."""
    centres = (regions.xyxy[:, :2] + regions.xyxy[:, 2:]) / 2
    others = [other for other in rows if other != row]
    return min(others, key=lambda other: float(np.hypot(*(centres[other] - centres[row]))), default=None)


def _kind(concept: Concept, regions: Regions, row: int) -> str:
    """What the detector surely sees there, else the kind that the user gave."""
    sure = regions.scores[row] >= SURE_LABEL
    return regions.labels[row] if sure or not concept.category else concept.category


def place(scene: Scene, row: int) -> str:
    """Where a region lies: "on the left", "at the top right", "in the middle", by thirds of the photo."""
    return position(scene.regions.box(row), scene.photo.width, scene.photo.height)


def position(box: Box, width: int, height: int) -> str:
    """Where a box lies in a photo of width x height pixels, by the third that its centre is in."""
    if share(box, width, height) >= _MOST_OF_IT:
        return "in the middle"
    across = _third((box[0] + box[2]) / 2 / width, "left", "right")
    down = _third((box[1] + box[3]) / 2 / height, "top", "bottom")
    if down:
        return f"at the {down} {across}".rstrip()
    return f"on the {across}" if across else "in the middle"


def share(box: Box, width: int, height: int) -> float:
    """Share of the photo that a box covers, 0..1."""
    return (box[2] - box[0]) * (box[3] - box[1]) / (width * height)


def a_thing(label: str) -> str:
    """A detector label with its article."""
    return f"{'an' if label[:1].lower() in 'aeiou' else 'a'} {label}"


def _third(centre: float, low: str, high: str) -> str:
    return low if centre < 1 / 3 else high if centre > 2 / 3 else ""


def notable(regions: Regions, named: list[int], least: float = NOTABLE_SCORE) -> list[int]:
    """Rows of regions with at least this score that are neither named nor another box of what is listed."""
    overlaps = iou(regions.xyxy, regions.xyxy) if len(regions) else np.zeros((0, 0), np.float32)
    listed = list(named)
    for row in np.flatnonzero(regions.scores >= least).tolist():
        if row not in listed and not (overlaps[row, listed] > _SAME_THING_IOU).any():
            listed.append(row)
    return listed[len(named) :]


def wrong_names(text: str, free: Sequence[str], forbidden: Sequence[str]) -> set[str]:
    """The forbidden names in a text; one that is a part of a free name there ("Ann" in "Ann Lee") is none."""
    return names_mentioned(text, [*free, *forbidden]) & set(forbidden)


def without_names(things: Sequence[str], names: Sequence[str]) -> list[str]:
    """The things whose words are nobody's name: a concept that is called "dog" is not named by a label."""
    return [thing for thing in things if not find_names(thing, names)]
