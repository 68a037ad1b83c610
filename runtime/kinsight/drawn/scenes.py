"""Draws scenes with their whole truth: who stands where, in which posture, how much of them shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinsight.drawn.creatures import Posture
from kinsight.drawn.individuals import Individual, individual, look_alike
from kinsight.drawn.paint import Pose, paint
from kinsight.drawn.places import PLACES, background, clutter
from kinsight.image.shapes import Mask, blur, enlarge, relight
from kinsight.types import Box, Floats, Pixels

Rng = np.random.Generator
SHAPES_WH = ((320, 240), (240, 320), (288, 288), (320, 200))
_ATTEMPTS = 30
_ABOVE = {"flag": 1.5, "hat": 1.25}  # how far these reach up, in halves of the thing


@dataclass(frozen=True)
class Placed:
    """One individual in a scene."""

    individual: Individual
    xyxy: Box  # around what shows of it, pixels
    visible: float  # share of its outline in the frame that nothing hides, 0..1
    posture: Posture  # "" for a thing that just stands there
    mirrored: bool


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture with its truth."""

    pixels: Pixels  # uint8 (height, width, 3), RGB, 0..255
    things: tuple[Placed, ...]  # in the order in which they were asked for
    place: str  # a key of PLACES

    def neighbour(self, row: int) -> Placed | None:
        """Who is nearest to one of the things; None where it is alone."""
        others = [thing for other, thing in enumerate(self.things) if other != row]
        return min(others, key=lambda thing: _distance(thing, self.things[row]), default=None)


def draw_scene(
    individuals: Sequence[Individual],
    rng: Rng,
    size_wh: tuple[int, int] = (320, 240),
    place: str | None = None,
) -> Drawing:
    """One to about five individuals in a place; any size, all lengths follow from it."""
    place = place or str(rng.choice(list(PLACES)))
    canvas = background(place, size_wh, rng)
    poses = _layout(individuals, size_wh, rng)
    order = sorted(range(len(poses)), key=lambda row: poses[row].centre[1] + poses[row].half)
    masks: dict[int, Mask] = {row: paint(canvas, individuals[row], poses[row]) for row in order}
    things = []
    before = _foreground(canvas, rng)
    for row, (one, pose) in enumerate(zip(individuals, poses, strict=True)):
        later = [*(masks[other] for other in order[order.index(row) + 1 :]), before]
        xyxy, visible = _seen(masks[row], later, pose)
        things.append(Placed(one, xyxy, visible, pose.posture, pose.mirrored))
    return Drawing(_light(canvas, rng), tuple(things), place)


def any_size(rng: Rng) -> tuple[int, int]:
    """Width and height of a picture as training has them, pixels."""
    return SHAPES_WH[int(rng.integers(len(SHAPES_WH)))]


def random_scene(rng: Rng) -> Drawing:
    """One to four individuals, now and then look-alikes of each other or of one kind."""
    first = individual(rng)
    cast = [first]
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.2, 0.3, 0.3, 0.2]))):
        draw = rng.random()
        if draw < 0.2:
            cast.append(look_alike(cast[int(rng.integers(len(cast)))], rng))
        else:
            cast.append(individual(rng, first.kind if draw < 0.3 else None))
    return draw_scene(cast, rng, any_size(rng))


def _foreground(canvas: Pixels, rng: Rng) -> Mask:
    """Now and then a piece of clutter in front of everything; returns what it hides."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    if rng.random() < 0.35:
        clutter(canvas, rng, mask)
    return mask


def _layout(individuals: Sequence[Individual], size_wh: tuple[int, int], rng: Rng) -> list[Pose]:
    """A pose each; the least crowded of several throws."""
    most = 0.62 / math.sqrt(len(individuals))
    bearable = float(rng.uniform(0.0, 0.4) if rng.random() < 0.8 else rng.uniform(0.4, 0.8))
    best: list[Pose] = []
    least = math.inf
    for _ in range(_ATTEMPTS):
        poses = [_pose(one, size_wh, most, rng) for one in individuals]
        crowded = _crowded(poses)
        if crowded < least:
            best, least = poses, crowded
        if crowded < bearable:
            break
    return best


def _pose(one: Individual, size_wh: tuple[int, int], most: float, rng: Rng) -> Pose:
    width, height = size_wh
    half = 0.5 * min(width, height) * float(rng.uniform(0.55, 1.0)) * min(0.85, most * 1.25)
    room_x, room_y = min(half * 0.9, width / 2), min(half, height / 2)
    room_above = min(half * _ABOVE.get(one.accessory, 1.0), height - room_y)
    postures = one.postures()
    return Pose(
        (float(rng.uniform(room_x, width - room_x)), float(rng.uniform(room_above, height - room_y))),
        half,
        float(rng.normal(0, 6)),
        float(rng.uniform(0.82, 1.08)),
        bool(rng.random() < 0.5),
        postures[int(rng.integers(len(postures)))],
        float(rng.uniform(-1, 1)),
        float(rng.random()),
    )


def _crowded(poses: Sequence[Pose]) -> float:
    """The largest overlap of two, as a share of the sum of their halves."""
    worst = 0.0
    for row, one in enumerate(poses):
        for other in poses[:row]:
            gap = max(abs(one.centre[0] - other.centre[0]), abs(one.centre[1] - other.centre[1]))
            worst = max(worst, 1 - gap / (0.9 * (one.half + other.half)))
    return worst


def _seen(mask: Mask, later: Sequence[Mask], pose: Pose) -> tuple[Box, float]:
    """The box around what shows, and its share of the whole silhouette."""
    shown = mask > 127
    whole = max(1, int(shown.sum()))
    for other in later:
        shown &= other <= 127
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(rows):
        x, y = pose.centre
        return (x, y, x + 1, y + 1), 0.0
    box = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
    return box, float(shown.sum()) / whole


def _light(canvas: Pixels, rng: Rng) -> Pixels:
    """Brightness, colour of the light, a slope of it across the picture, blur and noise."""
    height, width = canvas.shape[:2]
    gain = float(rng.uniform(0.78, 1.12)) * rng.normal(1, 0.025, 3)
    slope = (1 + rng.normal(0, 0.07, (2, 2, 1))) * gain
    sharp = blur(canvas, max(0.0, float(rng.normal(0.3, 0.5))) * width / 320)
    coarse = int(rng.integers(0, 6))
    grain = rng.integers(-coarse, coarse + 1, (height, width), dtype=np.int8)
    return relight(sharp, enlarge(slope.astype(np.float32), (width, height)), grain)


def _distance(one: Placed, other: Placed) -> float:
    centres: list[Floats] = [
        np.array([(t.xyxy[0] + t.xyxy[2]) / 2, (t.xyxy[1] + t.xyxy[3]) / 2], np.float32) for t in (one, other)
    ]
    return float(np.linalg.norm(centres[0] - centres[1]))
