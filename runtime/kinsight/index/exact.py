"""Searches all vectors with usearch, so that the answer is exact at any size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinsight.errors import MissingPackage
from kinsight.types import Floats

Keys = NDArray[np.int64]
"""int64; what the caller calls a row, such as its view id."""

_FEW_PAIRS = 100_000
"""Pairs of vectors below which waking other cores takes longer than the search."""
_SMALL = 131_072
"""Multiplications in one matrix product."""
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
        rows, distances = self._nearest(queries, k)
        found = self._keys[rows]
        order = np.lexsort((found, distances))[:, :k]
        similarities = 1 - np.take_along_axis(distances, order, axis=1)
        return np.take_along_axis(found, order, axis=1), similarities

    def _nearest(self, queries: Floats, k: int) -> tuple[Keys, Floats]:
        """Rows and distances (m, k or more): deep enough to hold every vector that ties with the k-th."""
        search, metric = _usearch()
        threads = 1 if len(self) * len(queries) <= _FEW_PAIRS else 0  # 0: all cores
        depth = min(k + 1, len(self))
        while True:
            found = search(self._vectors, queries, depth, metric, exact=True, threads=threads)
            rows = np.asarray(found.keys).reshape(len(queries), depth).astype(np.int64)
            distances = np.asarray(found.distances, np.float32).reshape(len(queries), depth)
            if depth == len(self) or bool((distances[:, -1] > distances[:, k - 1]).all()):
                return rows, distances
            depth = min(2 * depth, len(self))


def _usearch() -> tuple[Any, Any]:
    """The search, and a metric that is 1 - cosine on unit vectors; `Cos` is off by 2e-5 before 2.16."""
    try:
        from usearch.index import MetricKind, search
    except ImportError as error:
        raise MissingPackage(f"usearch cannot be imported ({error})", "run pip install usearch") from error
    return search, MetricKind.IP


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
