"""A thing as a list of filled outlines in units of its own, with the places where an accessory sits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kinsight.types import Floats

Tone = Literal["main", "second", "accessory", "dark", "light"]
Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Part:
    """One filled outline."""

    outline: Floats  # float32 (n, 2), x right and y down; the whole thing lies within about -1..1
    tone: Tone
    patterned: bool  # whether the individual's pattern is laid over it
    shade: float  # added to the lightness, -1..1


@dataclass(frozen=True)
class Spot:
    """Where an accessory sits."""

    x: float
    y: float
    size: float  # half of its width


class Sketch:
    """Collects the parts of one thing, back to front."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.top = Spot(0, -0.9, 0.3)  # of a hat or a flag
        self.neck = Spot(0, -0.2, 0.3)  # of a scarf or a bow
        self.chest = Spot(0, 0.2, 0.2)  # of a star

    def polygon(
        self, points: Sequence[Point], tone: Tone = "main", patterned: bool = False, shade: float = 0.0
    ) -> None:
        """Straight edges between points."""
        self.parts.append(Part(np.array(points, np.float32), tone, patterned, shade))

    def box(
        self, corners: tuple[float, float, float, float], tone: Tone = "main", shade: float = 0.0
    ) -> None:
        """x0, y0, x1, y1."""
        x0, y0, x1, y1 = corners
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], tone, False, shade)

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        tone: Tone = "main",
        angle: float = 0.0,
        patterned: bool = False,
    ) -> None:
        """`angle` in degrees, clockwise as y goes down."""
        turn = np.linspace(0, 2 * math.pi, 28, endpoint=False)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        x, y = radii[0] * np.cos(turn), radii[1] * np.sin(turn)
        outline = np.stack([centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y], axis=1)
        self.parts.append(Part(outline.astype(np.float32), tone, patterned, 0.0))

    def limb(self, start: Point, end: Point, width: float, tone: Tone = "main", shade: float = 0.0) -> None:
        """A straight bar with round ends."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        along = math.atan2(dy, dx)
        half = np.linspace(-math.pi / 2, math.pi / 2, 7)
        ends = [(end, half + along), (start, half + along + math.pi)]
        points = [
            (x + width / 2 * math.cos(t), y + width / 2 * math.sin(t))
            for (x, y), turns in ends
            for t in turns
        ]
        self.polygon(points, tone, False, shade)

    def eye(self, x: float, y: float, size: float = 0.06) -> None:
        """White with a dark pupil."""
        self.ellipse((x, y), (size * 1.3, size * 1.3), "light")
        self.ellipse((x + size * 0.2, y), (size * 0.8, size * 0.8), "dark")
