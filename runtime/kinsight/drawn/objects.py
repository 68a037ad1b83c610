"""The outlines of things: what stands, hangs and drives about a house."""

from __future__ import annotations

import math

from kinsight.drawn.creatures import Posture
from kinsight.drawn.sketch import Sketch, Spot


def mug(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """The handle is round or square."""
    if detail == "a round handle":
        s.ellipse((0.62, 0.1), (0.32, 0.36), "second")
        s.ellipse((0.6, 0.1), (0.17, 0.21), "dark")
    else:
        s.box((0.4, -0.35, 1.0, 0.55), "second")
        s.box((0.4, -0.15, 0.82, 0.35), "dark")
    s.polygon([(-0.6, -0.6), (0.6, -0.6), (0.52, 0.8), (-0.52, 0.8)], "main", True)
    s.ellipse((0, -0.6), (0.6, 0.14), "second")
    s.ellipse((0, -0.59), (0.5, 0.09), "dark")
    s.top, s.neck, s.chest = Spot(0, -0.66, 0.36), Spot(0, -0.28, 0.34), Spot(-0.02, 0.2, 0.27)


def teapot(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Lid, handle, and a spout that is long or short."""
    tip = (-0.98, -0.5) if detail == "a long spout" else (-0.8, -0.02)
    s.limb((-0.5, 0.25), tip, 0.2, "second")
    s.ellipse((0.72, 0.1), (0.28, 0.34), "second")
    s.ellipse((0.7, 0.1), (0.15, 0.2), "dark")
    s.ellipse((0, 0.2), (0.68, 0.58), "main", 0, True)
    s.ellipse((0, -0.34), (0.36, 0.12), "second")
    s.ellipse((0, -0.52), (0.13, 0.14), "second")
    s.box((-0.38, 0.72, 0.38, 0.82), "main", -0.15)
    s.top, s.neck, s.chest = Spot(0, -0.6, 0.27), Spot(0, -0.22, 0.34), Spot(0, 0.26, 0.26)


def bag(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A hand bag with one handle or two."""
    ring = 0.36 if detail == "one handle" else 0.2
    for x in (0.0,) if detail == "one handle" else (-0.3, 0.3):
        s.ellipse((x, -0.3), (ring, 0.45), "second")
        s.ellipse((x, -0.28), (ring - 0.1, 0.33), "light")
    s.polygon([(-0.62, -0.3), (0.62, -0.3), (0.78, 0.8), (-0.78, 0.8)], "main", True)
    s.polygon([(-0.64, -0.3), (0.64, -0.3), (0.66, -0.05), (-0.66, -0.05)], "second")
    s.ellipse((0, -0.08), (0.08, 0.08), "light")
    s.top, s.neck, s.chest = Spot(-0.36, -0.34, 0.24), Spot(0, 0.1, 0.3), Spot(0, 0.4, 0.25)


def plant(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Leaves of the second colour in a pot of the first; the leaves are broad or thin."""
    wide = 0.16 if detail == "broad leaves" else 0.07
    for turn in (-64, -32, 0, 32, 64):
        bend = math.radians(turn + 8 * swing)
        tip = (0.36 * math.sin(bend), 0.05 - 0.42 * math.cos(bend))
        s.ellipse(tip, (wide, 0.46), "second", turn + 8 * swing)
    s.polygon([(-0.48, 0.1), (0.48, 0.1), (0.34, 0.88), (-0.34, 0.88)], "main", True)
    s.box((-0.54, 0.02, 0.54, 0.2), "main", -0.12)
    s.top, s.neck, s.chest = Spot(0, -0.72, 0.24), Spot(0, 0.24, 0.3), Spot(0, 0.54, 0.22)


def lamp(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A shade on a foot; the foot is round or square."""
    s.limb((0, -0.1), (0, 0.75), 0.11, "second")
    if detail == "a round foot":
        s.ellipse((0, 0.82), (0.46, 0.12), "second")
    else:
        s.box((-0.36, 0.58, 0.36, 0.92), "second")
    s.polygon([(-0.34, -0.85), (0.34, -0.85), (0.72, 0.05), (-0.72, 0.05)], "main", True)
    s.limb((0.3, 0.05), (0.3, 0.3), 0.03, "dark")
    s.top, s.neck, s.chest = Spot(0, -0.84, 0.27), Spot(0, 0.36, 0.24), Spot(0, -0.36, 0.24)


def clock(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A face with two hands; with two bells or on two feet."""
    if detail == "two bells":
        for side in (-1, 1):
            s.ellipse((side * 0.48, -0.68), (0.26, 0.2), "second", side * 40)
    for side in (-1, 1):
        s.limb((side * 0.4, 0.55), (side * 0.55, 0.88), 0.14, "second")
    s.ellipse((0, 0.05), (0.74, 0.74), "main", 0, True)
    s.ellipse((0, 0.05), (0.46, 0.46), "light")
    turn = 1.5 * swing
    s.limb((0, 0.05), (0.32 * math.sin(turn), 0.05 - 0.32 * math.cos(turn)), 0.06, "dark")
    s.limb((0, 0.05), (0.22 * math.cos(turn), 0.05 + 0.22 * math.sin(turn)), 0.08, "dark")
    s.top, s.neck, s.chest = Spot(0, -0.64, 0.28), Spot(0, 0.62, 0.26), Spot(0, -0.46, 0.25)


def car(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A round or a boxy roof over two wheels."""
    if detail == "a round roof":
        s.ellipse((-0.05, -0.05), (0.55, 0.5))
        s.ellipse((-0.05, -0.06), (0.42, 0.36), "light")
    else:
        s.polygon([(-0.55, 0.0), (-0.48, -0.52), (0.4, -0.52), (0.5, 0.0)])
        s.box((-0.4, -0.42, 0.32, -0.02), "light")
    s.limb((-0.05, -0.5), (-0.05, 0.0), 0.07)
    s.polygon([(-0.95, 0.0), (0.9, 0.0), (0.97, 0.2), (0.97, 0.5), (-0.97, 0.5), (-0.97, 0.15)], "main", True)
    s.box((-0.97, 0.44, 0.97, 0.54), "second")
    _wheels(s, (-0.55, 0.55), 0.25)
    s.top, s.neck, s.chest = Spot(-0.05, -0.5, 0.3), Spot(0.72, 0.08, 0.2), Spot(0, 0.24, 0.2)


def bus(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """One row of windows or two."""
    high = -0.85 if detail == "two decks" else -0.5
    s.polygon([(-0.97, high), (0.9, high), (0.97, high + 0.15), (0.97, 0.55), (-0.97, 0.55)], "main", True)
    for row in (-0.36,) if detail == "one deck" else (-0.72, -0.3):
        for x in (-0.85, -0.4, 0.05, 0.5):
            s.box((x, row, x + 0.33, row + 0.3), "light")
    s.box((-0.97, 0.42, 0.97, 0.55), "second")
    _wheels(s, (-0.55, 0.55), 0.24)
    s.top, s.neck, s.chest = Spot(-0.3, high, 0.3), Spot(0.5, 0.14, 0.26), Spot(-0.1, 0.18, 0.26)


def boat(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A hull of its colour under one sail or two."""
    s.limb((0, 0.3), (0, -0.92), 0.07, "dark")
    s.polygon([(0.06, -0.85), (0.06, 0.12), (0.72 + 0.1 * swing, 0.12)], "second")
    if detail == "two sails":
        s.polygon([(-0.06, -0.7), (-0.06, 0.12), (-0.6 + 0.1 * swing, 0.12)], "second", False, 0.12)
    s.polygon([(-0.95, 0.22), (0.95, 0.22), (0.6, 0.8), (-0.62, 0.8)], "main", True)
    s.top, s.neck, s.chest = Spot(0, -0.86, 0.22), Spot(-0.5, 0.34, 0.24), Spot(0.05, 0.5, 0.21)


def umbrella(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Open, with a straight stick or a hooked one."""
    s.limb((0, -0.3), (0, 0.75), 0.08, "dark")
    if detail == "a hooked stick":
        s.limb((0, 0.75), (0.16, 0.92), 0.12, "second")
        s.limb((0.16, 0.92), (0.38, 0.7), 0.12, "second")
    else:
        s.ellipse((0, 0.84), (0.12, 0.13), "second")
    x = [-0.95 + 0.1 * i for i in range(20)]
    dome = [(v, 0.1 - 0.95 * max(0.0, 1 - (v / 0.96) ** 2) ** 0.5) for v in x]
    s.polygon(dome, "main", True)
    for left in (-0.95, -0.31, 0.33):
        s.polygon([(left, 0.1), (left + 0.32, -0.1), (left + 0.62, 0.1)], "second")
    s.top, s.neck, s.chest = Spot(0, -0.82, 0.24), Spot(0, 0.36, 0.26), Spot(0, -0.42, 0.22)


def boot(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A shaft, high or low, on a sole with a heel."""
    high = -0.9 if detail == "a high shaft" else -0.35
    s.polygon([(-0.5, high), (0.12, high), (0.15, 0.2), (-0.52, 0.72)], "main", True)
    s.ellipse((0.3, 0.42), (0.56, 0.34), "main", 8, True)
    s.polygon([(-0.53, 0.3), (0.4, 0.4), (0.5, 0.72), (-0.53, 0.72)], "main", True)
    s.limb((-0.5, 0.76), (0.8, 0.76), 0.15, "dark")
    s.box((-0.56, high - 0.08, 0.18, high + 0.12), "second")
    s.box((-0.58, 0.72, -0.2, 0.95), "dark")
    s.top, s.neck, s.chest = Spot(-0.2, high, 0.24), Spot(-0.18, high + 0.3, 0.24), Spot(-0.12, 0.34, 0.2)


def _wheels(s: Sketch, places: tuple[float, ...], size: float) -> None:
    for x in places:
        s.ellipse((x, 0.58), (size, size), "dark")
        s.ellipse((x, 0.58), (size * 0.45, size * 0.45), "light")
