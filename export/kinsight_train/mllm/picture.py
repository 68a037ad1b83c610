"""A picture as the pocket model's encoder gets it: what llama.cpp does to it, byte for byte, in numpy."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinsight.llm.pictures import padded
from kinsight.types import Floats, Pixels

MEAN = STD = 0.5  # of every channel, pixels counted from 0 to 1
_BITS = 22  # of a weight's fraction


def preprocess(pixels: Pixels, side_px: int, picture_tokens: int = 16) -> Floats:
    """float32 (3, side, side), -1..1, of uint8 (height, width, 3), RGB.

    `picture_tokens` is the bundle's `image_max_tokens`: the device pads a strip that is narrower than one in
    so many, before llama.cpp sees it.
    """
    square = letterboxed(padded(pixels, picture_tokens), side_px).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray((square.transpose(2, 0, 1) - np.float32(MEAN)) / np.float32(STD))


def letterboxed(pixels: Pixels, side_px: int) -> Pixels:
    """uint8 (side, side, 3): the whole picture in the middle of a black square."""
    height, width = pixels.shape[:2]
    if height == width == side_px:
        return pixels
    scale = min(np.float32(side_px) / np.float32(width), np.float32(side_px) / np.float32(height))
    new_width = min(ceil(np.float32(width) * scale), side_px)
    new_height = min(ceil(np.float32(height) * scale), side_px)
    square = np.zeros((side_px, side_px, 3), np.uint8)
    left, top = (side_px - new_width) // 2, (side_px - new_height) // 2
    square[top : top + new_height, left : left + new_width] = _resized(pixels, new_width, new_height)
    return square


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Pillow's bilinear filter, which widens when it shrinks: rows of pixels first, rounded, then columns."""
    if pixels.shape[1] != width:
        pixels = _shrunk(pixels.swapaxes(0, 1), width).swapaxes(0, 1)
    return _shrunk(pixels, height) if pixels.shape[0] != height else pixels


def _shrunk(pixels: Pixels, length: int) -> Pixels:
    """The first axis brought to another length; uint8 (length, other, 3)."""
    first, weights = _taps(pixels.shape[0], length)
    total = np.full((length, *pixels.shape[1:]), 1 << (_BITS - 1), np.int32)
    for tap, weight in enumerate(weights.T):
        rows = np.minimum(first + tap, len(pixels) - 1)  # the weight is 0 beyond the edge
        total += pixels[rows].astype(np.int32) * weight[:, None, None]
    resized: Pixels = np.clip(total >> _BITS, 0, 255).astype(np.uint8)
    return resized


@lru_cache(maxsize=4096)
def _taps(length: int, new_length: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """First source row of every new one, int (new length,), and fixed-point int32 (new length, taps)."""
    scale = length / new_length
    wide = max(scale, 1.0)
    centre = (np.arange(new_length) + 0.5) * scale
    first = np.maximum((centre - wide + 0.5).astype(int), 0)
    last = np.minimum((centre + wide + 0.5).astype(int), length)
    rows = first[:, None] + np.arange(ceil(wide) * 2 + 1)
    weights = np.maximum(1 - np.abs((rows - centre[:, None] + 0.5) * (1 / wide)), 0)
    weights[rows >= last[:, None]] = 0
    weights /= weights.sum(1, keepdims=True)
    return first, (weights * (1 << _BITS) + 0.5).astype(np.int32)
