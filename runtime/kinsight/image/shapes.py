"""Filled polygons with smooth edges, masks and blur: what drawing needs of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kinsight.image.text import Colour
from kinsight.types import Floats, Pixels

Mask = NDArray[np.uint8]
"""uint8 (height, width), 0 or 255, in between at smooth edges."""
_SHIFT = 4  # sub-pixel bits of OpenCV's polygons


def fill_polygon(canvas: NDArray[np.uint8], points: Floats, colour: Colour | int) -> None:
    """Fill a polygon in place; `points` float32 (n, 2) in pixels (x, y), may lie outside."""
    corners = np.round(np.clip(points, -4096, 4096) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [corners], colour, cv2.LINE_AA, _SHIFT)


def blend(canvas: Pixels, layer: Pixels, mask: Mask) -> None:
    """Lay `layer` over `canvas` in place where the mask says; all of one height and width."""
    weight = mask[..., None].astype(np.uint16)
    mixed = (layer.astype(np.uint16) * weight + canvas.astype(np.uint16) * (255 - weight) + 127) // 255
    canvas[:] = mixed.astype(np.uint8)


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Gaussian blur; sigma in pixels, below 0.2 a copy."""
    if sigma < 0.2:
        return np.array(pixels)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def enlarge(values: Floats, size_wh: tuple[int, int]) -> Floats:
    """A coarse float32 (h, w) or (h, w, c) field, smoothly enlarged to width and height."""
    return np.asarray(cv2.resize(values, size_wh, interpolation=cv2.INTER_CUBIC), np.float32)


def relight(pixels: Pixels, light: Floats, grain: NDArray[np.int8]) -> Pixels:
    """Pixels times light, float32 (h, w, 3), plus grain, int8 (h, w), the same on all channels; saturated."""
    lit = cv2.multiply(pixels, light, dtype=cv2.CV_8U)
    return np.asarray(cv2.add(lit, cv2.merge([grain, grain, grain]), dtype=cv2.CV_8U), np.uint8)
