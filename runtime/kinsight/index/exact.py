"""Searches all vectors, so that the answer is exact at any size: screened in eight bits, then in float32."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from kinsight.index.screen import ROUNDING, Glance, Keys, Screen, last_of_the_best, reaching
from kinsight.types import Floats

_SMALL = 262_144
"""Multiplications in one matrix product: so many OpenBLAS does with one thread."""
_LEAST_ROWS = 8
"""Rows of one matrix product, at least; others go through in several rounds."""


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
            MissingPackage: usearch is not installed.
        """
        queries = _unit_rows(queries)
        if len(self) and queries.shape[1] != self.dim:
            raise ValueError(f"expected queries (m, {self.dim}), got {queries.shape}")
        k = max(0, min(count, len(self)))
        if k == 0 or len(queries) == 0:
            return np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.float32)
        rows, _ = self.look(queries).near(k)
        exact = np.stack([np.einsum("nd,d->n", self._vectors[rows], query) for query in queries])
        found = np.broadcast_to(self._keys[rows], exact.shape)
        order = np.lexsort((found, -exact))[:, :k]
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(exact, order, axis=1)

    def look(self, queries: Floats) -> Look:
        """For the nearest of queries, float32 (m, dim), unit length, m >= 1; quicker than `search`.

        Raises:
            MissingPackage: usearch is not installed.
        """
        return Look(self._vectors, queries, Glance(self._screen, queries) if len(self) else None)

    @cached_property
    def _screen(self) -> Screen:
        return Screen(self._vectors)


class Look:
    """At the vectors of an index from some queries, as often and as deep as is needed."""

    def __init__(self, vectors: Floats, queries: Floats, glance: Glance | None) -> None:
        """Of float32 (n, dim) and (m, dim); `glance` is None where n is 0."""
        self._vectors, self._queries, self._glance = vectors, queries, glance
        self._found = np.empty((len(queries), 0), np.float32)
        self._column = np.full(len(vectors), -1, np.int64)  # of a row in what was found, -1 where it is not

    def near(self, count: int) -> tuple[Keys, Floats]:
        """Which rows can be among the `count` nearest of any query: 1 to n, 0 where there are none.

        Rows int64 (r,), rising, ties with the last one included, and float32 (m,): no other row is nearer to
        the query than this cosine.
        """
        if self._glance is None:
            return np.zeros(0, np.int64), np.full(len(self._queries), -1, np.float32)
        rows = self._glance.reaching(last_of_the_best(self.cosines(self._glance.likely(count)), count))
        near = self.cosines(rows)
        farthest = last_of_the_best(near, count)
        return rows[reaching(near, farthest - np.float32(ROUNDING))], farthest

    def cosines(self, rows: Keys) -> Floats:
        """float32 (m, r): of the queries with different rows, int64 (r,); each is computed once only."""
        columns = self._column[rows]
        new = rows[columns < 0]
        if len(new):
            near = cosines(self._vectors.take(new, axis=0), self._queries).T
            self._column[new] = np.arange(self._found.shape[1], self._found.shape[1] + len(new))
            self._found = np.concatenate([self._found, near], axis=1)
            columns = self._column[rows]
        return self._found.take(columns, axis=1)


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


def _unit_rows(vectors: Floats) -> Floats:
    matrix = np.ascontiguousarray(vectors, np.float32)
    if np.ndim(vectors) != 2:
        raise ValueError(f"expected vectors (n, dim), got {np.shape(vectors)}")
    squares = np.einsum("nd,nd->n", matrix, matrix)
    if not (np.abs(squares - 1) <= 2e-3).all():
        raise ValueError(f"expected unit vectors, got lengths² {squares.min():.4g} to {squares.max():.4g}")
    return matrix
