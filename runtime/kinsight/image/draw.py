"""What kinsight saw, drawn: boxes with names on a photo, and sheets of pictures with captions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kinsight.image.resize import thumbnail
from kinsight.image.text import Colour, draw_text, fit_text, text_width
from kinsight.types import Box, Decision, Pixels

_COLOURS: dict[Decision, Colour] = {
    "accepted": (
        0,
        158,
        115,
    ),  # bluish green and orange of Okabe and Ito's palette, told apart by colour-blind eyes
    "unsure": (230, 159, 0),
    "unknown": (80, 80, 80),
}
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_PAPER, _INK = (250, 250, 250), (40, 40, 40)
_SMALLEST_TEXT = 11  # pixels; below it letters cannot be read

Place = tuple[int, int, int, int]
"""left, top, right, bottom in whole pixels."""


@dataclass(frozen=True)
class Mark:
    """One box to draw, with its text ("" for none); the decision gives the colour."""

    xyxy: Box
    text: str
    decision: Decision


def annotate(pixels: Pixels, marks: Sequence[Mark]) -> Pixels:
    """A copy with a box and a text plate per mark; lines and letters grow with the picture.

    Plates stay inside the picture and keep clear of each other where there is room; a picture too small for
    readable letters gets boxes only.
    """
    out = np.array(pixels)
    height, width = out.shape[:2]
    unit = math.sqrt(width * height)
    line = max(1, round(unit / 260))
    size = max(_SMALLEST_TEXT, round(unit / 36))
    by_importance = sorted(marks, key=lambda mark: list(_COLOURS).index(mark.decision))
    for mark in reversed(by_importance):
        _draw_box(out, mark, line)
    taken: list[Place] = []
    for mark in by_importance:
        plate = _plate_size(mark.text, size, (width, height))
        if plate is not None:
            text, plate_wh = plate
            taken.append(_free_place(plate_wh, mark.xyxy, taken, (width, height)))
            _draw_plate(out, text, taken[-1], size, _COLOURS[mark.decision])
    return out


def _draw_box(out: Pixels, mark: Mark, line: int) -> None:
    """With a white rim where the line is thick enough, so that it shows on any background."""
    height, width = out.shape[:2]
    x0, y0, x1, y1 = mark.xyxy
    corner = min(max(round(x0), 0), width - 1), min(max(round(y0), 0), height - 1)
    opposite = min(max(round(x1) - 1, 0), width - 1), min(max(round(y1) - 1, 0), height - 1)
    if line > 1:
        cv2.rectangle(out, corner, opposite, _WHITE, line + 2 * max(1, line // 3))
    cv2.rectangle(out, corner, opposite, _COLOURS[mark.decision], line)


def _plate_size(text: str, size: int, picture_wh: tuple[int, int]) -> tuple[str, tuple[int, int]] | None:
    """(text cut to the picture, plate width and height), None where there is nothing to write or no room."""
    margin = _margin(size)
    widest = max(round(0.6 * picture_wh[0]), min(12 * size, picture_wh[0]))
    line = fit_text(text, size, widest - 2 * margin)
    plate_wh = text_width(line, size) + 2 * margin, round(size * 1.3) + margin
    return (line, plate_wh) if line and plate_wh[1] <= picture_wh[1] // 2 else None


def _margin(size: int) -> int:
    return max(2, round(size * 0.3))


def _free_place(size_wh: tuple[int, int], box: Box, taken: list[Place], picture_wh: tuple[int, int]) -> Place:
    """The first place near the box that covers no other plate, else the one that covers least."""
    best, least = (0, 0, *size_wh), math.inf
    for left, top in _corners(size_wh, box, picture_wh):
        x = min(max(left, 0), picture_wh[0] - size_wh[0])
        y = min(max(top, 0), picture_wh[1] - size_wh[1])
        place = x, y, x + size_wh[0], y + size_wh[1]
        covered = sum(_shared_area(place, other) for other in taken)
        if covered < least:
            best, least = place, covered
        if covered == 0:
            break
    return best


def _corners(size_wh: tuple[int, int], box: Box, picture_wh: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Top-left corners to try: above the box, inside at its top, below, inside at its bottom, any row."""
    width, height = size_wh
    x0, y0, x1, y1 = (round(v) for v in box)
    for top in (y0 - height, y0, y1, y1 - height):
        yield from ((x0, top), (x1 - width, top))
    for top in sorted(range(0, picture_wh[1] - height + 1, height), key=lambda row: abs(row - y0)):
        yield from ((x0, top), (x1 - width, top), (x0 - width, top), (x1, top))


def _shared_area(a: Place, b: Place) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _draw_plate(out: Pixels, text: str, place: Place, size: int, colour: Colour) -> None:
    left, top, right, bottom = place
    margin = _margin(size)
    out[top:bottom, left:right] = colour
    draw_text(out, text, (left + margin, top + margin // 2 + size), size, _ink_on(colour))


def _ink_on(colour: Colour) -> Colour:
    """Black or white, whichever has the higher contrast (WCAG 2.1, relative luminance)."""
    linear = ((v / 255 + 0.055) / 1.055 for v in colour)
    red, green, blue = (v**2.4 for v in linear)
    return _BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else _WHITE


def contact_sheet(
    pictures: Sequence[Pixels], captions: Sequence[str], columns: int, cell_wh: tuple[int, int]
) -> Pixels:
    """A grid of cells of `cell_wh` pixels, each a picture scaled to fit with one line of text below it."""
    if len(pictures) != len(captions) or not pictures:
        raise ValueError(f"expected as many captions as pictures, got {len(pictures)} and {len(captions)}")
    width, height = cell_wh
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * height, columns * width, 3), _PAPER, np.uint8)
    for number, (pixels, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(number, columns)
        cell = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        _fill_cell(cell, pixels, caption)
    return sheet


def _fill_cell(cell: Pixels, pixels: Pixels, caption: str) -> None:
    height, width = cell.shape[:2]
    size = max(_SMALLEST_TEXT, height // 14)
    gap = _margin(size)
    room_w, room_h = width - 2 * gap, height - round(size * 1.3) - 3 * gap
    scale = min(room_w / pixels.shape[1], room_h / pixels.shape[0], 1)
    small = thumbnail(pixels, max(1, math.floor(max(pixels.shape[:2]) * scale)))[
        : max(room_h, 0), : max(room_w, 0)
    ]
    top, left = gap + (room_h - small.shape[0]) // 2, (width - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    line = fit_text(caption, size, room_w)
    indent = (width - text_width(line, size)) // 2
    draw_text(cell, line, (indent, height - gap - round(size * 0.3)), size, _INK)
