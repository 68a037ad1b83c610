"""Tells of a picture whether it is blurred, and of two whether they are nearly the same."""

from __future__ import annotations

import cv2
import numpy as np

from kinsight.types import Floats, Pixels

_SIDE = 128
_SKETCH_SIDE = 24
_FLAT = 3.0  # grey values of 0..255


def sharpness(pixels: Pixels) -> float:
    """What is left of the contrast when the picture is smoothed away from it, 0..1: high is sharp.

    The spread of the differences from a slightly smoothed copy over the spread of the picture, both of its
    grey values at the same small size, so that neither light nor resolution of the camera counts. A picture
    of one colour has nothing that could be blurred: 1.
    """
    small = _grey(pixels, _SIDE)
    spread = float(small.std())
    if spread < _FLAT:
        return 1.0
    return float((small - cv2.GaussianBlur(small, (0, 0), 1.5)).std()) / spread


def sketch(pixels: Pixels) -> Floats:
    """float32 (576,), unit length: a small grey copy; the product of two is 1 where they are equal."""
    grey = _grey(pixels, _SKETCH_SIDE).ravel()
    grey -= grey.mean()
    length = float(np.linalg.norm(grey))
    return grey / length if length else np.full_like(grey, 1 / _SKETCH_SIDE)


def _grey(pixels: Pixels, side: int) -> Floats:
    """float32 (side, side), 0..255."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small: Floats = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small
