"""What the measures ask of their arguments; each check raises ValueError with what it got."""

from __future__ import annotations

from collections.abc import Sized
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = TypeVar("Values")


def no_lone_string(what: str, values: Values) -> Values:
    """The values; one string, which would be taken for a collection of letters, is refused."""
    if isinstance(values, str):
        raise ValueError(f"expected a collection for {what}, got the one string {values!r}")
    return values


def check_pairs(what: str, first: Sized, second: Sized) -> None:
    """Two collections of one length, at least 1."""
    if not len(no_lone_string(what, first)) == len(no_lone_string(what, second)) > 0:
        raise ValueError(f"expected {what} of one length n >= 1, got {len(first)} and {len(second)}")


def floats(what: str, values: ArrayLike) -> NDArray[np.float64]:
    """float64 (n,) with n >= 1; -inf may be in it, nan and inf may not."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"expected {what} (n,) with n >= 1, got {array.shape}")
    if np.isnan(array).any() or np.isposinf(array).any():
        raise ValueError(f"expected {what} without nan and inf, got {array}")
    return array


def bools(what: str, values: ArrayLike) -> NDArray[np.bool_]:
    """bool (n,) with n >= 1; numbers are refused."""
    array = np.asarray(values)
    if array.ndim != 1 or not array.size or array.dtype != np.bool_:
        raise ValueError(f"expected {what} bool (n,) with n >= 1, got {array.dtype} {array.shape}")
    return array


def boxes(what: str, xyxy: ArrayLike) -> NDArray[np.float64]:
    """float64 (n, 4), finite, x0 <= x1 and y0 <= y1; n may be 0."""
    array = np.asarray(xyxy, np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"expected {what} (n, 4), got {array.shape}")
    if not np.isfinite(array).all() or (array[:, 2:] < array[:, :2]).any():
        raise ValueError(f"expected {what} finite with x0 <= x1 and y0 <= y1, got {array}")
    return array
