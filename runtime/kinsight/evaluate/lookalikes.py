"""Measures look-alikes: whether one "this is not Lala" suffices, and whether two ever share a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np

from kinsight.detect import Detector
from kinsight.drawn import Drawing, Individual, draw_scene, individual, look_alike
from kinsight.embed import Embedder, embed_scene
from kinsight.errors import ConfigError
from kinsight.evaluate.fitting import memory_of, reference
from kinsight.evaluate.pocket import region_at
from kinsight.evaluate.shots import Progress, Shot, counted
from kinsight.evidence import Memory
from kinsight.image import crop
from kinsight.recall import Rules, recall
from kinsight.types import Box, Floats, Match, Photo

_PHOTOS = 4
"""Drawn photos of each of a pair."""
_VISIBLE = 0.6
_ATTEMPTS = 20
A, B = "A", "B"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two who are easily confused: one is taught, the other is not."""

    taught: Floats  # float32 (1, dim): the reference of A
    own: Sequence[Shot]  # other photos of A
    others: Sequence[Shot]  # photos of B, with their vectors as taught


@dataclass(frozen=True)
class Negatives:
    """What negatives did; each trial takes one photo of B for A by force, and refuses that."""

    pairs: int
    trials: int
    others: int  # photos of B beside the refused one, over all trials
    named_before: int  # of these, taken for A without the negative
    named_after: int  # and with it
    own: int  # photos of A, over all trials
    lost: int  # of these, named without the negative and not with it
    trials_lost_more_than_one: int


@dataclass(frozen=True)
class Twins:
    """Photos of two look-alikes, where one of them is known or both are."""

    scenes: int
    same_name_twice: int
    both_right: int
    one_right: int  # and nobody wrong
    nobody_named: int
    somebody_wrong: int


def negatives(pairs: Sequence[Pair], rules: Rules, progress: Progress) -> Negatives:
    """Refuses each photo of B, taken for A by force, in turn, and looks at all others as the rules say."""
    totals: Counter[str] = Counter()
    forced = at_threshold(rules, 0.0)
    for pair in counted(progress, "look-alikes", pairs):
        before = memory_of({A: pair.taught})
        own_before = [_is_named(shot, before, rules) for shot in pair.own]
        others_before = [_is_named(shot, before, rules) for shot in pair.others]
        for row, mistaken in enumerate(pair.others):
            after = _refusing(mistaken, before, forced)
            lost = sum(
                was and not _is_named(shot, after, rules)
                for shot, was in zip(pair.own, own_before, strict=True)
            )
            rest = [shot for other, shot in enumerate(pair.others) if other != row]
            totals.update(
                trials=1,
                others=len(rest),
                named_before=sum(others_before) - others_before[row],
                named_after=sum(_is_named(shot, after, rules) for shot in rest),
                own=len(pair.own),
                lost=lost,
                trials_lost_more_than_one=lost > 1,
            )
    return Negatives(len(pairs), **{key: totals[key] for key in list(Negatives.__dataclass_fields__)[1:]})


def at_threshold(rules: Rules, threshold: float | None) -> Rules:
    """Rules that accept from this probability on, 0..1, without a margin; None: as they are."""
    if threshold is None:
        return rules
    return replace(rules, calibration=replace(rules.calibration, accept_probability=threshold, margin=0.0))


def photo_pairs(shots: Sequence[Shot], only: Sequence[str]) -> list[Pair]:
    """Every ordered pair of these identities, of all without `only`. Raises ConfigError for a stranger."""
    names = sorted({shot.identity for shot in shots})
    if lost := [name for name in only if name not in names]:
        raise ConfigError(f"there is no identity {lost[0]} here", f"choose from {', '.join(names)}")
    pairs = []
    for one, other in permutations(only or names, 2):
        own = [shot for shot in shots if shot.identity == one]
        first = next((shot for shot in own if shot.boxed is not None), own[0])
        rest = [shot for shot in own if shot is not first]
        pairs.append(Pair(reference(first, own)[None], rest, [s for s in shots if s.identity == other]))
    return pairs


class Sketcher:
    """Draws individuals and sees them as the runtime does."""

    def __init__(self, detector: Detector, embedder: Embedder, seed: int) -> None:
        self._detector, self._embedder = detector, embedder
        self._rng = np.random.default_rng((seed, 6))

    def pairs(self, count: int, progress: Progress) -> Iterator[Pair]:
        """Individuals with a look-alike who differs in one attribute, each alone in its pictures."""
        for _ in counted(progress, "drawn look-alikes", range(count)):
            one = individual(self._rng)
            other = look_alike(one, self._rng)
            own = [self._shot(self._draw([one]), A) for _ in range(_PHOTOS)]
            others = [self._shot(self._draw([other]), B) for _ in range(_PHOTOS)]
            yield Pair(self._taught(one), own, others)

    def twins(self, count: int, rules: Rules, progress: Progress) -> Twins:
        """Both in one picture; in every other scene both are known, else only one of them."""
        totals: Counter[str] = Counter()
        for turn in counted(progress, "scenes of two", range(count)):
            one = individual(self._rng)
            pair = {A: one, B: look_alike(one, self._rng)}
            known = {name: self._taught(who) for name, who in pair.items() if name == A or turn % 2}
            drawing = self._draw(list(pair.values()))
            shot = self._shot(drawing, "")
            named = _named_boxes(shot, memory_of(known), rules)
            boxes = dict(zip(pair, (thing.xyxy for thing in drawing.things), strict=True))
            right = [region_at(shot.regions, boxes[name]) == row for name, row in named]
            totals["same_name_twice"] += len({name for name, _ in named}) < len(named)
            totals[_verdict(right)] += 1
        return Twins(count, **{key: totals[key] for key in list(Twins.__dataclass_fields__)[1:]})

    def _taught(self, one: Individual) -> Floats:
        """float32 (1, dim): the view that is kept of it."""
        drawing = self._draw([one])
        regions = self._detector.detect(drawing.pixels)
        row = region_at(regions, drawing.things[0].xyxy)
        box: Box = drawing.things[0].xyxy if row is None else regions.box(row)
        return self._embedder.views([crop(drawing.pixels, box)])

    def _draw(self, cast: list[Individual]) -> Drawing:
        drawing = draw_scene(cast, self._rng)
        for _ in range(_ATTEMPTS):
            if all(thing.visible >= _VISIBLE for thing in drawing.things):
                break
            drawing = draw_scene(cast, self._rng)
        return drawing

    def _shot(self, drawing: Drawing, identity: str) -> Shot:
        height, width = drawing.pixels.shape[:2]
        regions = self._detector.detect(drawing.pixels)
        photo = Photo(drawing.pixels, "", "drawn", 0.0)
        vectors = embed_scene(photo, regions, self._embedder)
        boxes = [*(regions.box(row) for row in range(len(regions))), (0.0, 0.0, float(width), float(height))]
        views = vectors
        if identity == B:
            views = self._embedder.views([crop(drawing.pixels, box) for box in boxes])
        return Shot(identity, Path("drawn"), regions, vectors, views, None)


def as_json(result: Negatives | Twins) -> dict[str, object]:
    """The figures as the last line gives them."""
    return {"format": 1, "eval": type(result).__name__.lower(), **asdict(result)}


def _verdict(right: Sequence[bool]) -> str:
    """A field of `Twins`."""
    if not right:
        return "nobody_named"
    if not all(right):
        return "somebody_wrong"
    return "both_right" if len(right) == 2 else "one_right"


def _refusing(shot: Shot, memory: Memory, forced: Rules) -> Memory:
    """The store after "this is not A" of the region that is taken for A by force."""
    boxes, whole = recall(shot.regions, shot.vectors, memory, forced)
    taken = [row for row, matches in enumerate((*boxes, whole)) if _accepts(matches)]
    refused = shot.views[taken[:1] or [-1]]
    one = np.ones(1, np.int64)
    return replace(memory, negative_concepts=0 * one, negatives=refused, negative_ids=one)


def _named_boxes(shot: Shot, memory: Memory, rules: Rules) -> list[tuple[str, int]]:
    """(name, row of the region) of everybody accepted in a box."""
    boxes, _ = recall(shot.regions, shot.vectors, memory, rules)
    return [(matches[0].concept, row) for row, matches in enumerate(boxes) if _accepts(matches)]


def _is_named(shot: Shot, memory: Memory, rules: Rules) -> bool:
    boxes, whole = recall(shot.regions, shot.vectors, memory, rules)
    return any(_accepts(matches) for matches in (*boxes, whole))


def _accepts(matches: Sequence[Match]) -> bool:
    return bool(matches) and matches[0].decision == "accepted"
