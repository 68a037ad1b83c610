"""The backgrounds of the drawn world: six places, with clutter that is no known kind of thing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from kinsight.image.shapes import Mask, enlarge, fill_polygon
from kinsight.image.text import Colour
from kinsight.types import Pixels

Rng = np.random.Generator
_MUTED: tuple[Colour, ...] = (
    (176, 160, 140), (140, 150, 160), (190, 178, 166), (120, 132, 118), (160, 140, 150), (110, 110, 120),
    (200, 196, 180), (150, 120, 100),
)  # fmt: skip


def background(place: str, size_wh: tuple[int, int], rng: Rng) -> Pixels:
    """An empty picture of a place, uint8 (h, w, 3) RGB."""
    width, height = size_wh
    canvas = np.empty((height, width, 3), np.uint8)
    PLACES[place](canvas, height * float(rng.uniform(0.4, 0.62)), rng)
    for _ in range(int(rng.integers(0, 6))):
        clutter(canvas, rng)
    return canvas


def clutter(canvas: Pixels, rng: Rng, mask: Mask | None = None) -> None:
    """A stone, a board or a shard of a muted colour; where it lies is marked in the mask."""
    height, width = canvas.shape[:2]
    x, y = float(rng.uniform(0, width)), float(rng.uniform(0.2, 1)) * height
    size, corners = height * float(rng.uniform(0.02, 0.09)), int(rng.integers(3, 9))
    turns = np.sort(rng.uniform(0, 2 * math.pi, corners))
    points = np.stack([x + size * np.cos(turns) * rng.uniform(0.7, 1.6), y + size * np.sin(turns)], axis=1)
    fill_polygon(canvas, points.astype(np.float32), _muted(rng))
    if mask is not None:
        fill_polygon(mask, points.astype(np.float32), 255)


def _garden(canvas: Pixels, line: float, rng: Rng) -> None:
    _fields(canvas, line, (176, 214, 236), (122, 176, 96), rng)
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(12, 30))):
        x, y = float(rng.uniform(0, width)), float(rng.uniform(line, height))
        blade = 0.02 * height
        fill_polygon(canvas, _array([(x - 1, y), (x + blade / 2, y - blade), (x + 2, y)]), (92, 140, 70))


def _beach(canvas: Pixels, line: float, rng: Rng) -> None:
    _fields(canvas, line, (190, 226, 240), (233, 214, 168), rng)
    _band(canvas, line - 0.09 * canvas.shape[0], line, (92, 152, 188))


def _snow(canvas: Pixels, line: float, rng: Rng) -> None:
    _fields(canvas, line, (160, 178, 204), (228, 233, 240), rng)
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(20, 50))):
        _dot(
            canvas,
            float(rng.uniform(0, width)),
            float(rng.uniform(0, height)),
            0.006 * height,
            (250, 250, 252),
        )


def _kitchen(canvas: Pixels, line: float, rng: Rng) -> None:
    _fields(canvas, line, (224, 222, 214), (172, 134, 98), rng)
    height, width = canvas.shape[:2]
    step = height * float(rng.uniform(0.11, 0.16))
    for i in range(1, math.ceil(width / step)):
        fill_polygon(canvas, _rectangle(i * step, 0, i * step + 1.2, line), (196, 194, 188))
    for i in range(1, math.ceil(line / step)):
        fill_polygon(canvas, _rectangle(0, i * step, width, i * step + 1.2), (196, 194, 188))
    _band(canvas, line, line + 0.025 * height, (120, 92, 66))


def _street(canvas: Pixels, line: float, rng: Rng) -> None:
    _fields(canvas, line, (202, 200, 204), (126, 126, 130), rng)
    height, width = canvas.shape[:2]
    x = -float(rng.uniform(0, 0.2)) * width
    while x < width:
        wide = width * float(rng.uniform(0.12, 0.26))
        top = line * float(rng.uniform(0.15, 0.6))
        fill_polygon(canvas, _rectangle(x, top, x + wide * 0.94, line), _muted(rng))
        x += wide
    for i in range(4):
        left = width * (0.02 + 0.27 * i)
        y = line + 0.6 * (height - line)
        fill_polygon(canvas, _rectangle(left, y, left + 0.13 * width, y + 0.018 * height), (222, 222, 214))


def _living_room(canvas: Pixels, line: float, rng: Rng) -> None:
    walls: tuple[Colour, ...] = ((226, 206, 186), (196, 208, 196), (206, 196, 214))
    _fields(canvas, line, walls[int(rng.integers(3))], (150, 112, 92), rng)
    height, width = canvas.shape[:2]
    x, y, side = width * float(rng.uniform(0.05, 0.7)), 0.08 * height, 0.24 * height
    fill_polygon(canvas, _rectangle(x, y, x + 1.2 * side, y + side), (110, 84, 60))
    fill_polygon(canvas, _rectangle(x + 3, y + 3, x + 1.2 * side - 3, y + side - 3), (182, 212, 232))
    rug = [(0.1 * width, height), (0.25 * width, line + 0.3 * (height - line)), (0.8 * width, height)]
    rug.insert(2, (0.75 * width, line + 0.3 * (height - line)))
    fill_polygon(canvas, _array(rug), _muted(rng))


PLACES: Mapping[str, Callable[[Pixels, float, Rng], None]] = {
    "garden": _garden,
    "beach": _beach,
    "snow": _snow,
    "kitchen": _kitchen,
    "street": _street,
    "living room": _living_room,
}


def _fields(canvas: Pixels, line: float, above: Colour, below: Colour, rng: Rng) -> None:
    """Two fields of colour that meet at a line, each a little uneven."""
    height, width = canvas.shape[:2]
    rows = np.where(np.arange(height)[:, None] < line, np.array(above), np.array(below)).astype(np.int16)
    uneven = enlarge(np.clip(rng.normal(0, 7, (4, 5)), -9, 9).astype(np.float32), (width, height))
    canvas[:] = rows[:, None] + uneven.astype(np.int16)[..., None]  # stays within 0..255


def _band(canvas: Pixels, top: float, bottom: float, colour: Colour) -> None:
    fill_polygon(canvas, _rectangle(-2, top, canvas.shape[1] + 2, bottom), colour)


def _dot(canvas: Pixels, x: float, y: float, radius: float, colour: Colour) -> None:
    turns = np.linspace(0, 2 * math.pi, 8, endpoint=False)
    points = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1)
    fill_polygon(canvas, points.astype(np.float32), colour)


def _rectangle(
    x0: float, y0: float, x1: float, y1: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return _array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _array(points: list[tuple[float, float]]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(points, np.float32).reshape(-1, 2)


def _muted(rng: Rng) -> Colour:
    return _MUTED[int(rng.integers(len(_MUTED)))]
