"""Searches all vectors, so that the answer is exact at any size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinsight.types import Floats

Keys = NDArray[np.int64]
"""int64; what the caller calls a row, such as its view id."""

_SAMPLE = 2048
"""Rows of which the k-th best says from which cosine on the others can matter."""
_SMALL = 131_072
"""Multiplications in one matrix product."""
_LEAST_ROWS = 8
"""Rows of one matrix product, at least; others go through in several rounds."""
_BLOCK = 65_536
"""Rows that are held against all queries at once: 4 MB of cosines for 16 queries."""
_ROUNDING = 2e-5
"""More than two ways of adding up the same float32 products can differ by."""
_RESCORED = 4096
"""Rows that are gathered at once."""


class Index:
    """Vectors in memory, searched exhaustively.

    >>> index = Index(np.eye(3, dtype=np.float32), np.array([7, 8, 9]))
    >>> keys, similarities = index.search(np.array([[0.0, 0.6, 0.8]], np.float32), count=2)
    >>> keys
    array([[9, 8]])
    >>> similarities.shape
    (1, 2)
    """

    def __init__(self, vectors: Floats, keys: Keys) -> None:
        """Take float32 (n, dim) unit vectors and int64 (n,) keys, without copying them.

        Raises:
            ValueError: the shapes do not fit, or a length is not 1 to within 0.001.
        """
        self._vectors = _unit_rows(vectors)
        self._keys = np.ascontiguousarray(keys, np.int64)
        if self._keys.shape != (len(self._vectors),):
            raise ValueError(
                f"expected one key a vector, got vectors {self._vectors.shape} and keys {self._keys.shape}"
            )

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def vectors(self) -> Floats:
        """float32 (n, dim): the rows themselves."""
        return self._vectors

    @property
    def dim(self) -> int:
        """Numbers in one vector."""
        return int(self._vectors.shape[1])

    def search(self, queries: Floats, count: int) -> tuple[Keys, Floats]:
        """Find the `count` nearest of every query, best first, equal ones by key.

        The similarity of two vectors is the same number whatever else is searched with them.

        Args:
            queries: float32 (m, dim), unit length.
            count: how many are wanted, 0 or more.

        Returns:
            Keys int64 (m, k) and cosine similarities float32 (m, k), -1..1, where k = min(count, n).

        Raises:
            ValueError: the queries are not (m, dim), or a length is not 1 to within 0.001.
        """
        queries = _unit_rows(queries)
        if len(self) and queries.shape[1] != self.dim:
            raise ValueError(f"expected queries (m, {self.dim}), got {queries.shape}")
        k = max(0, min(count, len(self)))
        keys = np.zeros((len(queries), k), np.int64)
        similarities = np.zeros((len(queries), k), np.float32)
        if k == 0 or len(queries) == 0:
            return keys, similarities
        for at, rows in enumerate(self._candidates(queries, k)):
            near = self._cosines(queries[at], rows)
            best = np.lexsort((self._keys[rows], -near))[:k]
            keys[at], similarities[at] = self._keys[rows[best]], near[best]
        return keys, similarities

    def _candidates(self, queries: Floats, k: int) -> list[Keys]:
        """For every query the rows that can be among its k best, those that tie with the k-th included."""
        least: Floats | None = None
        parts: list[tuple[Keys, Floats]] = []  # places in (n, m), and the cosines there
        for start in range(0, len(self), max(_BLOCK, k)):
            near = cosines(self._vectors[start : start + max(_BLOCK, k)], queries)
            if least is None:
                least = _kth_best(near[: max(_SAMPLE, k)].T.copy(), k) - _ROUNDING
            places = np.flatnonzero(near >= least)
            parts.append((places + start * len(queries), near.ravel()[places]))
        places, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        rows, owners = np.divmod(places, len(queries))
        order = np.argsort(owners, kind="stable")
        ends = np.searchsorted(owners[order], np.arange(1, len(queries)))
        return [
            rows[mine][scores[mine] >= _kth_best(scores[mine], k) - _ROUNDING]
            for mine in np.split(order, ends)
        ]

    def _cosines(self, query: Floats, rows: Keys) -> Floats:
        """float32 (r,): each added up by itself, so that equal vectors tie exactly."""
        parts = [
            np.einsum("rd,d->r", self._vectors[rows[start : start + _RESCORED]], query)
            for start in range(0, len(rows), _RESCORED)
        ]
        added: Floats = np.concatenate(parts)
        return added


def cosines(vectors: Floats, others: Floats) -> Floats:
    """float32 (n, m): of n vectors with m others, all of unit length, as many small matrix products.

    OpenBLAS multiplies small ones without repacking them and without waking other cores: that takes half the
    processor time of one large product, and a tenth on a busy machine, where cores that wait go on spinning.
    For one vector a plain loop is quicker.
    """
    (n, dim), m = vectors.shape, len(others)
    found = np.empty((n, m), np.float32)
    if m == 1:
        np.einsum("nd,d->n", vectors, others[0], out=found[:, 0])
        return found
    width = max(1, _SMALL // max(1, _LEAST_ROWS * dim))
    for start in range(0, m, width):
        columns = np.ascontiguousarray(others[start : start + width].T)
        rows = max(1, _SMALL // max(1, columns.size))
        whole = n - n % rows
        part = np.empty((n, columns.shape[1]), np.float32)
        stack = vectors[:whole].reshape(-1, rows, dim)
        np.matmul(stack, columns, out=part[:whole].reshape(-1, rows, columns.shape[1]))
        np.matmul(vectors[whole:], columns, out=part[whole:])
        if width >= m:
            return part
        found[:, start : start + width] = part
    return found


def _kth_best(values: Floats, k: int) -> Floats:
    """The k-th largest along the last axis."""
    at = values.shape[-1] - k
    kth: Floats = np.partition(values, at, axis=-1)[..., at]
    return kth


def _unit_rows(vectors: Floats) -> Floats:
    matrix = np.ascontiguousarray(vectors, np.float32)
    if np.ndim(vectors) != 2:
        raise ValueError(f"expected vectors (n, dim), got {np.shape(vectors)}")
    squares = np.einsum("nd,nd->n", matrix, matrix)
    if not (np.abs(squares - 1) <= 2e-3).all():
        raise ValueError(f"expected unit vectors, got lengths² {squares.min():.4g} to {squares.max():.4g}")
    return matrix
