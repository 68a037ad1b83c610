"""A quick look at all vectors in eight bits: cosines that are off by no more than it says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinsight.errors import MissingPackage
from kinsight.types import Floats

Keys = NDArray[np.int64]
"""int64; what the caller calls a row, such as its view id."""

_TOP = 126
_SEED = 20_261_128
_BLOCK = 1 << 19
"""Numbers that are rounded or multiplied at once: they stay in the cache."""
_WORD = 8
"""Bytes."""
ROUNDING = 2e-5
"""More than two ways of adding up the same float32 products can differ by."""
_FOLD = 64
"""Cosines of which only the highest is looked at to find out where the nearest begin."""
_MANY = 8
"""Of so many rows more than one may be near: then the queries are rounded less."""
_LONGEST = 1.002
"""Length of what counts as a unit vector, at most."""
_ODDS = 4.6
"""Half the root of 2 ln(2 / d), where d = 1e-18 is how often a pair may be off by more than so many steps."""


class Screen:
    """Vectors rounded to whole steps: a quarter of the memory to read, and more products an instruction.

    For rows v and queries q with what is left of them after rounding, v' and q', the cosine differs from the
    product of the rounded ones by v.q' + v'.(q - q'). By Cauchy-Schwarz that is at most
    |v||q'| + |v'||q - q'|, where what was lost is measured. Numbers are rounded up or down by chance, and so
    that the mean stays (Gray and Stockham 1993, "Dithered quantizers"): then by Hoeffding's inequality
    |v.q'| is more than _ODDS |v| steps of q once in 1e18 pairs, and |v'.(q - q')| likewise. The smaller of
    both bounds counts.
    """

    def __init__(self, vectors: Floats) -> None:
        """Take float32 (n, dim) of unit length, n >= 1; raises MissingPackage where usearch is missing."""
        self._kernels = _kernels()
        codes: NDArray[np.int8] = np.empty(vectors.shape, np.int8)
        self._steps = np.empty(len(vectors), np.float32)
        dither, *self.dithers = np.random.default_rng(_SEED).random((3, vectors.shape[1]), np.float32)
        rows, lost = max(1, _BLOCK // max(1, vectors.shape[1])), 0.0
        for start in range(0, len(vectors), rows):
            block = slice(start, start + rows)
            codes[block], self._steps[block], left = _rounded(vectors[block], dither)
            lost = max(lost, float(_lengths(left).max()))
        self._codes = codes
        self._lost = min(lost, _ODDS * float(self._steps.max()))

    def cosines(self, codes: NDArray[np.int8], steps: Floats) -> Floats:
        """float32 (m, n): of rounded queries and their steps, (m,), with the rounded rows."""
        near = np.empty((len(codes), len(self._codes)), np.float32)
        np.multiply(self._products(codes).T, self._steps, out=near, dtype=np.float32, casting="unsafe")
        near *= steps[:, None]
        return near

    def _products(self, codes: NDArray[np.int8]) -> NDArray[np.int32]:
        """int32 (n, m): of the rounded rows with rounded queries, int8 (m, dim).

        Every block of rows is read once before it is multiplied. That brings it into the cache in order; the
        product itself does not where a row has many numbers, and takes a third longer from 512 on.
        """
        n, dim = len(self._codes), self._codes.shape[1]
        queries, found = self._kernels.dots_pack(codes), self._kernels.empty((n, len(codes)), dtype="int32")
        flat = self._codes.reshape(-1)
        words = flat[: flat.size - flat.size % _WORD].view(np.int64)
        rows = max(1, _BLOCK // max(1, dim))
        for start in range(0, n, rows):
            end = min(n, start + rows)
            words[start * dim // _WORD : end * dim // _WORD].max(initial=0)
            self._kernels.dots_packed(self._codes, queries, out=found, start_row=start, end_row=end)
        return np.asarray(found)

    def doubt(self, left: Floats, steps: Floats) -> Floats:
        """float32 (m,): how far off a cosine is at most.

        Given what is left of the queries, float32 (m, dim), and in which steps they were rounded, (m,).
        """
        lost = _lengths(left)
        off: Floats = _LONGEST * np.minimum(lost, _ODDS * steps) + (_LONGEST + lost) * self._lost + ROUNDING
        return off.astype(np.float32)


class Glance:
    """The cosines of some queries with all rows, roughly; a second time and better where that does not do."""

    def __init__(self, screen: Screen, queries: Floats) -> None:
        """From queries, float32 (m, dim) of unit length."""
        self._screen = screen
        codes, self._steps, self._left = _rounded(queries, screen.dithers[0])
        self._near = screen.cosines(codes, self._steps)
        self._again = False

    def likely(self, count: int) -> Keys:
        """Rows, int64 (r,), rising, that look like the `count` nearest of any query, at least as many."""
        return reaching(self._near, least_of_the_best(self._near, count))

    def reaching(self, least: Floats) -> Keys:
        """Rows, int64 (r,), rising: all whose cosine can be what is asked of any query, float32 (m,)."""
        rows = reaching(self._near, least - self._screen.doubt(self._left, self._steps))
        if self._again or len(rows) <= self._near.shape[1] // _MANY:
            return rows
        codes, self._steps, self._left = _rounded(self._left, self._screen.dithers[1])
        self._near += self._screen.cosines(codes, self._steps)  # hardly anything stands out
        self._again = True
        return self.reaching(least)


def least_of_the_best(near: Floats, count: int) -> Floats:
    """float32 (m,): of cosines (m, n), one that at least `count` of each row reach, and few more.

    It is the `count`-th of the highest cosines of as many groups of columns.
    """
    n = near.shape[1]
    groups = max(2 * count, n // _FOLD)
    if 2 * groups <= n:
        near = near[:, : n - n % groups].reshape(len(near), -1, groups).max(axis=1)
    return last_of_the_best(near, count)


def last_of_the_best(near: Floats, count: int) -> Floats:
    """float32 (m,): of cosines (m, n), the `count`-th highest of each row."""
    at = near.shape[1] - count
    last: Floats = np.partition(near, at, axis=1)[:, at]
    return last


def reaching(near: Floats, least: Floats) -> Keys:
    """int64 (r,), rising: of cosines (m, n), the columns that reach what is asked of any row, (m,)."""
    return np.flatnonzero((near >= least[:, None]).any(axis=0))


def _rounded(vectors: Floats, dither: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
    """int8 (n, dim) in whole steps, the step of each row, float32 (n,), and what is left, (n, dim).

    `dither`, float32 (dim,), 0..1, is the share of a step from which on a number is rounded down.
    """
    steps = np.maximum(np.abs(vectors).max(axis=1), np.float32(1e-12)) / np.float32(_TOP)
    whole = vectors / steps[:, None]
    whole += dither
    np.floor(whole, out=whole)
    codes = whole.astype(np.int8)
    whole *= steps[:, None]
    return codes, steps, vectors - whole


def _lengths(vectors: Floats) -> Floats:
    """float32 (n,): of each row."""
    lengths: Floats = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return lengths


def _kernels() -> Any:
    """usearch's own, which multiply packed queries with rows, int8 into int32."""
    try:
        import numkong
    except ImportError as error:
        raise MissingPackage(
            f"numkong, which comes with usearch, cannot be imported ({error})", "run pip install usearch"
        ) from error
    return numkong
