"""The outlines of living things: pets from the side, figures from the front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from kinsight.drawn.sketch import Point, Sketch, Spot

Posture = Literal["standing", "sitting", "lying", ""]
Draw = Callable[[Sketch, str, "Posture", float], None]
"""(sketch, shape detail, posture, swing of limbs and tail -1..1)"""


def dog(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Muzzle, tail up, ears that hang or stand."""
    (x, y), root = _body(s, posture, swing, 0.15)
    s.limb(root, (root[0] - 0.27, root[1] - 0.4 - 0.2 * swing), 0.13)
    if detail == "pointed ears":
        s.polygon([(x - 0.25, y - 0.1), (x - 0.16, y - 0.55), (x + 0.02, y - 0.2)], "second")
        s.polygon([(x + 0.0, y - 0.2), (x + 0.14, y - 0.55), (x + 0.22, y - 0.1)], "second")
    s.ellipse((x, y), (0.33, 0.28), patterned=False)
    s.ellipse((x + 0.28, y + 0.1), (0.2, 0.14), "second")
    s.ellipse((x + 0.44, y + 0.04), (0.07, 0.06), "dark")
    if detail == "floppy ears":
        s.ellipse((x - 0.2, y + 0.1), (0.12, 0.3), "second", 12)
    s.eye(x + 0.1, y - 0.08)


def cat(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Round head, two pointed ears, whiskers, a tail that is long or bushy."""
    (x, y), root = _body(s, posture, swing, 0.11)
    if detail == "long tail":
        s.limb(root, (root[0] - 0.2, root[1] - 0.45), 0.1, "second")
        s.limb((root[0] - 0.2, root[1] - 0.45), (root[0] - 0.05 + 0.1 * swing, root[1] - 0.85), 0.1, "second")
    else:
        s.ellipse((root[0] - 0.15, root[1] - 0.18), (0.3, 0.17), "second", 50 + 20 * swing)
    for side in (-1, 1):
        s.polygon([(x + side * 0.33, y - 0.05), (x + side * 0.26, y - 0.5), (x + side * 0.04, y - 0.24)])
    s.ellipse((x, y), (0.35, 0.29))
    for side in (-1, 1):
        s.eye(x + side * 0.13, y - 0.04)
        s.limb((x + side * 0.14, y + 0.13), (x + side * 0.5, y + 0.08), 0.025, "dark")
    s.ellipse((x, y + 0.12), (0.12, 0.09), "second")


def rabbit(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Two long ears, up or hanging, and a round tail."""
    (x, y), root = _body(s, posture, swing, 0.14)
    s.ellipse((root[0], root[1] + 0.08), (0.16, 0.16), "second")
    if detail == "upright ears":
        s.ellipse((x - 0.13, y - 0.5), (0.1, 0.38), "main", -8 + 8 * swing)
        s.ellipse((x + 0.12, y - 0.5), (0.1, 0.38), "second", 8 + 8 * swing)
    s.ellipse((x, y), (0.31, 0.27))
    if detail == "hanging ears":
        s.ellipse((x - 0.3, y + 0.2), (0.1, 0.36), "second", 15)
        s.ellipse((x + 0.2, y + 0.25), (0.1, 0.36), "second", -15)
    s.eye(x + 0.08, y - 0.05)
    s.ellipse((x + 0.28, y + 0.05), (0.06, 0.05), "dark")


def _body(s: Sketch, posture: Posture, swing: float, leg: float) -> tuple[Point, Point]:
    """Trunk and legs of a four-legged animal; returns the middle of its head and the root of its tail."""
    if posture == "sitting":
        s.ellipse((-0.45, 0.55), (0.36, 0.3), "main")
        s.limb((0.22, 0.2), (0.3, 0.85), leg * 1.2, "main", -0.1)
        s.ellipse((-0.15, 0.3), (0.4, 0.62), "main", 28, True)
        s.limb((0.1, 0.25), (0.14, 0.87), leg * 1.2)
        s.ellipse((-0.3, 0.82), (0.3, 0.11))
        head, root = (0.25, -0.42), (-0.66, 0.5)
        s.chest = Spot(0.0, 0.25, 0.21)
    elif posture == "lying":
        s.limb((-0.5, 0.72), (-0.15, 0.8), leg * 1.2, "main", -0.1)
        s.ellipse((-0.15, 0.55), (0.72, 0.3), "main", 0, True)
        s.limb((0.2, 0.78), (0.72, 0.82), leg * 1.2)
        head, root = (0.55, 0.12), (-0.72, 0.46)
        s.chest = Spot(-0.1, 0.55, 0.21)
    else:
        for x, turn in ((-0.5, 0.16), (0.36, -0.16)):
            s.limb((x, 0.25), (x + turn * swing, 0.85), leg, "main", -0.1)
        s.ellipse((-0.1, 0.1), (0.66, 0.34), "main", -4, True)
        for x, turn in ((-0.58, -0.16), (0.24, 0.16)):
            s.limb((x, 0.25), (x + turn * swing, 0.87), leg)
        head, root = (0.55, -0.38), (-0.6, -0.06)
        s.chest = Spot(-0.05, 0.12, 0.21)
    x, y = head
    s.top = Spot(x, y - 0.22, 0.27)
    s.neck = Spot(x - 0.17, y + 0.28, 0.22)
    return head, root


def bird(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Beak, wing, two legs, a crest or none."""
    for x in (-0.1, 0.15):
        s.limb((x, 0.5), (x + 0.1 * swing, 0.9), 0.06, "dark")
    s.polygon([(-0.45, 0.0), (-1.0, -0.05 - 0.1 * swing), (-0.95, 0.3 - 0.1 * swing)], "second")
    s.ellipse((-0.05, 0.15), (0.58, 0.46), "main", 20, True)
    s.ellipse((-0.15, 0.15), (0.36, 0.2), "second", 25 + 25 * swing)
    if detail == "crest":
        for x in (0.2, 0.32, 0.44):
            s.limb((0.34, -0.5), (x - 0.06, -0.88), 0.08, "second")
    s.ellipse((0.36, -0.36), (0.29, 0.27))
    length = 0.5 if detail == "long beak" else 0.2
    s.polygon([(0.6, -0.44), (0.64 + length, -0.3), (0.6, -0.22)], "dark", False, 0.35)
    s.eye(0.44, -0.42)
    s.top, s.neck, s.chest = Spot(0.34, -0.58, 0.24), Spot(0.2, -0.1, 0.26), Spot(0.18, 0.3, 0.19)


def fish(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A swimming shape with fins; the tail is forked or a fan."""
    y = 0.12 * swing
    fork = -0.62 if detail == "forked tail" else -0.98
    s.polygon([(-0.45, 0.0), (-0.98, -0.5 + y), (fork, y), (-0.98, 0.5 + y)], "second")
    s.polygon([(-0.2, -0.35), (0.1, -0.72), (0.35, -0.3)], "second")
    s.ellipse((0.1, 0.0), (0.7, 0.44), "main", 0, True)
    s.polygon([(0.05, 0.15), (-0.25, 0.5 - 0.1 * swing), (0.25, 0.35)], "second")
    s.eye(0.52, -0.1, 0.08)
    s.limb((0.66, 0.14), (0.76, 0.1), 0.04, "dark")
    s.top, s.neck, s.chest = Spot(0.45, -0.32, 0.25), Spot(0.32, 0.05, 0.3), Spot(0.05, -0.02, 0.21)


def turtle(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A shell with a rim on four feet; the shell is high or flat."""
    rise = 0.95 if detail == "high shell" else 0.62
    for x in (-0.5, 0.35):
        s.limb((x, 0.4), (x + 0.14 * swing, 0.75), 0.22, "second")
    s.limb((0.5, 0.35), (0.8, 0.02), 0.22, "second")
    s.ellipse((0.85, -0.05), (0.2, 0.17), "second")
    s.eye(0.9, -0.1)
    along = [-0.75 + 0.1 * i for i in range(15)]
    s.polygon([(v, 0.45 - rise * max(0.0, 1 - (v + 0.05) ** 2 / 0.49) ** 0.5) for v in along], "main", True)
    s.limb((-0.72, 0.45), (0.62, 0.45), 0.13, "main", -0.15)
    s.top, s.neck, s.chest = Spot(0.83, -0.2, 0.2), Spot(0.62, 0.25, 0.2), Spot(-0.05, 0.2, 0.22)


def person(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """A shirt of its colour, trousers of the second; the hair is long, short or in a side bun."""
    if detail == "long hair":
        s.ellipse((0, -0.42), (0.29, 0.42), "dark", 0)
    _legs(s, posture, swing, "second")
    _arms(s, swing, 0.12)
    s.polygon([(-0.28, -0.3), (0.28, -0.3), (0.34, 0.32), (-0.34, 0.32)], "main", True)
    s.ellipse((0, -0.58), (0.2, 0.23), "light")
    if detail != "long hair":
        s.ellipse((0, -0.72), (0.21, 0.12), "dark")
    if detail == "a side bun":
        s.ellipse((0.27, -0.56), (0.13, 0.13), "dark")
    _face(s, -0.58)
    s.top, s.neck, s.chest = Spot(0, -0.76, 0.24), Spot(0, -0.3, 0.2), Spot(0.02, 0.02, 0.18)


def teddy(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Round all over; the muzzle and ears have the second colour, the ears are big or small."""
    size = 0.2 if detail == "big ears" else 0.11
    _legs(s, posture, swing, "main", 0.27)
    _arms(s, swing, 0.24)
    s.ellipse((0, 0.08), (0.46, 0.46), "main", 0, True)
    for side in (-1, 1):
        s.ellipse((side * 0.32, -0.8), (size, size), "second")
    s.ellipse((0, -0.52), (0.4, 0.34))
    s.ellipse((0, -0.42), (0.18, 0.14), "second")
    s.ellipse((0, -0.47), (0.06, 0.05), "dark")
    for side in (-1, 1):
        s.eye(side * 0.16, -0.6, 0.05)
    s.top, s.neck, s.chest = Spot(0, -0.78, 0.27), Spot(0, -0.2, 0.3), Spot(0, 0.12, 0.2)


def robot(s: Sketch, detail: str, posture: Posture, swing: float) -> None:
    """Boxes, with one antenna or two, or none."""
    if detail != "no antenna":
        for x in (-0.27,) if detail == "one antenna" else (-0.27, 0.27):
            s.limb((x, -0.7), (x * 1.3, -0.92), 0.09, "dark")
            s.ellipse((x * 1.3, -0.93), (0.13, 0.13), "second")
    _legs(s, posture, swing, "second", 0.2)
    _arms(s, swing, 0.14)
    s.polygon([(-0.42, -0.18), (0.42, -0.18), (0.42, 0.4), (-0.42, 0.4)], "main", True)
    s.box((-0.34, -0.72, 0.34, -0.24), "main", 0.1)
    s.box((-0.26, -0.62, 0.26, -0.36), "second")
    for side in (-1, 1):
        s.eye(side * 0.13, -0.5, 0.06)
    s.top, s.neck, s.chest = Spot(0, -0.72, 0.15), Spot(0, -0.2, 0.28), Spot(0, 0.1, 0.19)


def _legs(
    s: Sketch, posture: Posture, swing: float, tone: Literal["main", "second"], width: float = 0.2
) -> None:
    for side in (-1, 1):
        if posture == "sitting":
            s.limb((side * 0.18, 0.32), (side * 0.46, 0.45), width, tone)
            s.limb((side * 0.46, 0.45), (side * 0.5, 0.62), width, tone)
            s.ellipse((side * 0.52, 0.66), (0.13, 0.1), "dark")
        else:
            s.limb((side * 0.17, 0.3), (side * 0.2 + 0.1 * swing, 0.85), width, tone)
            s.ellipse((side * 0.23 + 0.1 * swing, 0.9), (0.15, 0.08), "dark")


def _arms(s: Sketch, swing: float, width: float) -> None:
    for side in (-1, 1):
        lift = side * swing
        s.limb((side * 0.3, -0.2), (side * 0.58, 0.12 - 0.4 * lift), width, "main", -0.08)


def _face(s: Sketch, y: float) -> None:
    for side in (-1, 1):
        s.ellipse((side * 0.08, y - 0.01), (0.03, 0.035), "dark")
    s.limb((-0.05, y + 0.12), (0.05, y + 0.12), 0.03, "dark")
