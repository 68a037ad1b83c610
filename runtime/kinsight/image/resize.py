"""Pixels to a model's input by the bundle's rule, boxes back to the photo, crops and thumbnails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from kinsight.bundle import Preprocess
from kinsight.types import Box, Floats, Pixels


@dataclass(frozen=True)
class Placement:
    """Where a photo lies in a model's input: input = photo * scale + offset, per axis."""

    scale_xy: tuple[float, float]  # input pixels per photo pixel
    offset_xy: tuple[float, float]  # input pixels
    photo_wh: tuple[int, int]  # pixels

    def to_photo(self, xyxy: Floats) -> Floats:
        """float32 (n, 4) in input pixels -> float32 (n, 4) in photo pixels, clipped to the photo."""
        scale = np.asarray(self.scale_xy * 2, np.float32)
        offset = np.asarray(self.offset_xy * 2, np.float32)
        limit = np.asarray(self.photo_wh * 2, np.float32)
        return np.asarray(np.clip((xyxy - offset) / scale, 0, limit), np.float32)


def prepare(pixels: Pixels, rule: Preprocess) -> tuple[Floats, Placement]:
    """A model's input, float32 (3, height, width) = (pixel * scale - mean) / std, and where the photo lies.

    A letterbox anchored top-left rounds its sizes down, as YOLOX does; a centred one to the nearest, as
    Ultralytics does. Resizing is bilinear as in both. A side that shrinks more than twice goes through twice
    its size and is averaged from there, because bilinear sampling alone skips pixels: the MobileNetV2
    embedding of a 640 pixel photo then has a cosine of .969 to that of the antialiased photo, .992 this way.
    Averaging every pixel of a large photo would cost ten times as much.
    """
    width, height = rule.size_wh
    out = np.empty((3, height, width), np.float32)
    return out, _fill(out, pixels, rule)


def prepare_batch(pictures: Sequence[Pixels], rule: Preprocess) -> Floats:
    """float32 (n, 3, height, width), each as `prepare` makes it."""
    width, height = rule.size_wh
    batch = np.empty((len(pictures), 3, height, width), np.float32)
    for out, pixels in zip(batch, pictures, strict=True):
        _fill(out, pixels, rule)
    return batch


def _fill(out: Floats, pixels: Pixels, rule: Preprocess) -> Placement:
    """Writes float32 (3, height, width) in place."""
    photo_h, photo_w = pixels.shape[:2]
    (left, top, taken_w, taken_h), (x, y, width, height) = _fit((photo_w, photo_h), rule)
    table = _table(rule)
    if (width, height) != rule.size_wh:
        out[:] = table[:, rule.pad, None, None]
    planes = cv2.split(_resize(pixels[top : top + taken_h, left : left + taken_w], (width, height)))
    for channel, plane in enumerate(planes if rule.colour == "rgb" else planes[::-1]):
        cv2.LUT(plane, table[channel], dst=out[channel, y : y + height, x : x + width])
    scale_x, scale_y = width / taken_w, height / taken_h
    return Placement((scale_x, scale_y), (x - left * scale_x, y - top * scale_y), (photo_w, photo_h))


def _fit(photo_wh: tuple[int, int], rule: Preprocess) -> tuple[tuple[int, int, int, int], ...]:
    """(left, top, width, height) of what is taken from the photo, and of where it goes in the input."""
    (photo_w, photo_h), (width, height) = photo_wh, rule.size_wh
    if rule.resize == "stretch":
        return (0, 0, photo_w, photo_h), (0, 0, width, height)
    if rule.resize == "shortest-side-centre-crop":
        scale = max(width / photo_w, height / photo_h)
        taken_w = min(photo_w, max(1, round(width / scale)))
        taken_h = min(photo_h, max(1, round(height / scale)))
        return ((photo_w - taken_w) // 2, (photo_h - taken_h) // 2, taken_w, taken_h), (0, 0, width, height)
    scale = min(width / photo_w, height / photo_h)
    rounding = math.floor if rule.anchor == "top-left" else round
    fit_w, fit_h = max(1, rounding(photo_w * scale)), max(1, rounding(photo_h * scale))
    if rule.anchor == "top-left":
        return (0, 0, photo_w, photo_h), (0, 0, fit_w, fit_h)
    return (0, 0, photo_w, photo_h), ((width - fit_w) // 2, (height - fit_h) // 2, fit_w, fit_h)


@lru_cache(maxsize=16)
def _table(rule: Preprocess) -> Floats:
    """float32 (3, 256): the input value of each pixel value, per channel in the order of `rule.colour`."""
    mean, std = np.asarray(rule.mean)[:, None], np.asarray(rule.std)[:, None]
    return np.asarray((np.arange(256) * rule.scale - mean) / std, np.float32)


def _resize(pixels: Pixels, size_wh: tuple[int, int]) -> Pixels:
    """Bilinear; through twice the size and halved by area where it shrinks more than that."""
    (height, width), (to_w, to_h) = pixels.shape[:2], size_wh
    if (width, height) == size_wh:
        return pixels
    via_wh = 2 * to_w if width > 2 * to_w else to_w, 2 * to_h if height > 2 * to_h else to_h
    out = cv2.resize(pixels, via_wh, interpolation=cv2.INTER_LINEAR)
    if via_wh != size_wh:
        out = cv2.resize(out, size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(out, np.uint8)


def crop(pixels: Pixels, xyxy: Box, padding: float = 0.0) -> Pixels:
    """The box with `padding` times its side added on every edge, clipped to the photo, >= 1 pixel; a view."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = xyxy
    more_x, more_y = padding * (x1 - x0), padding * (y1 - y0)
    left, right = _span(x0 - more_x, x1 + more_x, width)
    top, bottom = _span(y0 - more_y, y1 + more_y, height)
    return pixels[top:bottom, left:right]


def _span(start: float, end: float, length: int) -> tuple[int, int]:
    """Whole pixels that hold the span, inside 0..length."""
    first = min(max(math.floor(start), 0), length - 1)
    return first, min(max(math.ceil(end), first + 1), length)


def thumbnail(pixels: Pixels, longest: int) -> Pixels:
    """Scaled down until no side is longer than `longest` pixels; a smaller picture stays as it is."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
