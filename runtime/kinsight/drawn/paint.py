"""Paints one individual into a picture: its outlines, pattern and accessory in one pose and size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinsight.drawn.creatures import Posture
from kinsight.drawn.individuals import COLOURS, KIND_ROWS, Individual
from kinsight.drawn.sketch import Part, Sketch, Spot
from kinsight.image.shapes import Mask, blend, fill_polygon
from kinsight.image.text import Colour
from kinsight.types import Floats, Pixels

_DARK: Colour = (50, 40, 40)
_LIGHT: Colour = (250, 232, 205)


@dataclass(frozen=True)
class Pose:
    """How one view of an individual lies in the picture."""

    centre: tuple[float, float]  # pixels
    half: float  # half of its size, pixels
    turn: float  # degrees, clockwise
    squash: float  # width against height
    mirrored: bool
    posture: Posture
    swing: float  # of limbs and tail, -1..1
    phase: float  # where the pattern begins, 0..1


def paint(canvas: Pixels, one: Individual, pose: Pose) -> Mask:
    """Paint into the picture, in place; returns the silhouette, as large as the picture."""
    sketch = Sketch()
    KIND_ROWS[one.kind].draw(sketch, one.detail, pose.posture, pose.swing)
    parts = [*sketch.parts, *_accessory(one.accessory, sketch)]
    silhouette = np.zeros(canvas.shape[:2], np.uint8)
    outlines = [_placed(part.outline, pose) for part in parts]
    middle = _middle([part for part in parts if part.patterned])
    for part, outline in zip(parts, outlines, strict=True):
        fill_polygon(canvas, outline, _colour(part, one))
        fill_polygon(silhouette, outline, 255)
        if part.patterned and one.pattern != "plain":
            _lay_pattern(canvas, outline, one, (pose, middle))
    return silhouette


def _placed(outline: Floats, pose: Pose) -> Floats:
    """From a thing's own units to pixels."""
    x, y = outline[:, 0] * pose.squash, outline[:, 1]
    if pose.mirrored:
        x = -x
    cos, sin = math.cos(math.radians(pose.turn)), math.sin(math.radians(pose.turn))
    placed = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) * pose.half + pose.centre
    return placed.astype(np.float32)


def _colour(part: Part, one: Individual) -> Colour:
    names = {"main": one.colour, "second": one.second, "accessory": one.accessory_colour}
    base = _DARK if part.tone == "dark" else _LIGHT if part.tone == "light" else COLOURS[names[part.tone]]
    red, green, blue = (round(min(max(v + 90 * part.shade, 0), 255)) for v in base)
    return red, green, blue


def _middle(patterned: Sequence[Part]) -> float:
    """Half way down what has the pattern, in units of the thing; there a band lies."""
    heights = np.concatenate([part.outline[:, 1] for part in patterned])
    return float(heights.min() + heights.max()) / 2


def _lay_pattern(canvas: Pixels, outline: Floats, one: Individual, laid: tuple[Pose, float]) -> None:
    """The second colour where the pattern has it, inside one outline; `laid` is pose and height of a band."""
    pose, middle = laid
    height, width = canvas.shape[:2]
    x0, y0 = (max(0, math.floor(v)) for v in outline.min(axis=0))
    x1, y1 = (
        min(limit, math.ceil(v) + 1) for v, limit in zip(outline.max(axis=0), (width, height), strict=True)
    )
    if x1 <= x0 or y1 <= y0:
        return
    inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
    fill_polygon(inside, outline - np.array([x0, y0], np.float32), 255)
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    u, v = (x - pose.centre[0]) / pose.half, (y - pose.centre[1]) / pose.half
    cos, sin = math.cos(math.radians(pose.turn)), math.sin(math.radians(pose.turn))
    u, v = cos * u + sin * v, cos * v - sin * u
    mask: Mask = np.where(_has_second(one.pattern, u, v - middle, pose.phase), inside, 0).astype(np.uint8)
    layer = np.broadcast_to(np.array(COLOURS[one.second], np.uint8), (*inside.shape, 3))
    blend(canvas[y0:y1, x0:x1], layer, mask)


def _has_second(pattern: str, u: Floats, v: Floats, phase: float) -> NDArray[np.bool_]:
    """Where the pattern has the second colour; u right, v down from its middle, in halves of the thing."""
    if pattern == "striped":
        return (u / 0.28 + phase) % 1 < 0.5
    if pattern == "checked":
        return ((u / 0.34 + phase) % 1 < 0.5) ^ ((v / 0.34 + phase) % 1 < 0.5)
    if pattern == "spotted":
        row = np.floor(v / 0.26 + phase)
        du, dv = (u / 0.26 + phase + 0.5 * (row % 2)) % 1 - 0.5, (v / 0.26 + phase) % 1 - 0.5
        return np.asarray(du**2 + dv**2 < 0.085)
    return np.asarray(np.abs(v) < 0.13)  # banded


def _accessory(name: str, sketch: Sketch) -> list[Part]:
    """The parts of what it wears."""
    worn = Sketch()
    {"hat": _hat, "scarf": _scarf, "bow": _bow, "star": _star, "flag": _flag}[name](
        worn, sketch.chest if name == "star" else sketch.neck if name in ("scarf", "bow") else sketch.top
    )
    return worn.parts


def _hat(s: Sketch, at: Spot) -> None:
    w = at.size
    s.box((at.x - 0.62 * w, at.y - 1.15 * w, at.x + 0.62 * w, at.y - 0.05), "accessory")
    s.limb((at.x - 1.15 * w, at.y), (at.x + 1.15 * w, at.y), 0.3 * w, "accessory", -0.15)


def _scarf(s: Sketch, at: Spot) -> None:
    s.limb((at.x - at.size, at.y), (at.x + at.size, at.y), 0.2, "accessory")
    s.limb((at.x + 0.5 * at.size, at.y), (at.x + 0.7 * at.size, at.y + 0.38), 0.16, "accessory", -0.15)


def _bow(s: Sketch, at: Spot) -> None:
    w = 0.3
    for side in (-1, 1):
        points = [(at.x, at.y), (at.x + side * w, at.y - 0.7 * w), (at.x + side * w, at.y + 0.7 * w)]
        s.polygon(points, "accessory", False, -0.1 * side)
    s.ellipse((at.x, at.y), (0.09, 0.09), "accessory")


def _star(s: Sketch, at: Spot) -> None:
    s.ellipse((at.x, at.y), (1.12 * at.size, 1.12 * at.size), "light")
    turns = [math.pi * (i / 5 - 0.5) for i in range(10)]
    radii: Sequence[float] = [at.size * (1.0 if i % 2 == 0 else 0.45) for i in range(10)]
    points = [(at.x + r * math.cos(t), at.y + r * math.sin(t)) for r, t in zip(radii, turns, strict=True)]
    s.polygon(points, "accessory")


def _flag(s: Sketch, at: Spot) -> None:
    s.limb((at.x, at.y + 0.05), (at.x, at.y - 0.6), 0.05, "dark")
    s.polygon([(at.x, at.y - 0.62), (at.x - 0.48, at.y - 0.45), (at.x, at.y - 0.26)], "accessory")
