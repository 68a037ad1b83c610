"""Ways to find the nearest of many vectors: kinsight's own, and what else there is, one row each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinsight.index import Index
from kinsight.types import Floats

Search = Callable[[Floats, int], NDArray[np.int64]]
"""(queries (m, dim), k) -> int64 (m, k), the rows that were found."""
Build = Callable[[Floats, int], Search]
"""(vectors (n, dim) of unit length, threads, 0: all cores) -> a search. ImportError: it is not installed."""


def _kinsight(vectors: Floats, threads: int) -> Search:
    index = Index(vectors, np.arange(len(vectors), dtype=np.int64))
    index.search(vectors[:1], 1)  # rounds them: the first search does
    return lambda queries, k: index.search(queries, k)[0]


def _numpy(vectors: Floats, threads: int) -> Search:
    """What one writes down first."""

    def search(queries: Floats, k: int) -> NDArray[np.int64]:
        cosines = queries @ vectors.T
        rows = np.argpartition(-cosines, k, axis=1)[:, :k] if k < len(vectors) else np.argsort(-cosines)
        order = np.argsort(-np.take_along_axis(cosines, rows, axis=1), axis=1)
        return np.take_along_axis(rows, order, axis=1)

    return search


def _usearch_exact(vectors: Floats, threads: int) -> Search:
    from usearch import index as usearch

    def search(queries: Floats, k: int) -> NDArray[np.int64]:
        found = usearch.search(vectors, queries, k, usearch.MetricKind.IP, exact=True, threads=threads)
        return _rows(found.keys, len(queries))

    return search


def _usearch_hnsw(vectors: Floats, threads: int) -> Search:
    from usearch import index as usearch

    index = usearch.Index(ndim=vectors.shape[1], metric=usearch.MetricKind.IP, dtype="f32")
    index.add(np.arange(len(vectors)), vectors, threads=threads)
    return lambda queries, k: _rows(index.search(queries, k, threads=threads).keys, len(queries))


def _faiss(vectors: Floats, threads: int) -> Search:
    import faiss

    if threads:
        faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries, k: _rows(index.search(queries, k)[1], len(queries))


def _sqlite_vec(vectors: Floats, threads: int) -> Search:
    """In memory; one query at a time, as it has no other way."""
    import sqlite_vec

    connection = _loading_sqlite()
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    dim = vectors.shape[1]
    connection.execute(f"create virtual table v using vec0 (e float[{dim}] distance_metric=cosine)")
    rows = ((row, vector.tobytes()) for row, vector in enumerate(vectors))
    connection.executemany("insert into v (rowid, e) values (?, ?)", rows)
    sql = "select rowid from v where e match ? and k = ? order by distance"

    def search(queries: Floats, k: int) -> NDArray[np.int64]:
        found = [connection.execute(sql, (query.tobytes(), k)).fetchall() for query in queries]
        return _rows([[row for (row,) in rows] for rows in found], len(queries))

    return search


SEARCHERS: dict[str, Build] = {
    "kinsight": _kinsight,
    "numpy": _numpy,
    "usearch-exact": _usearch_exact,
    "faiss-flat": _faiss,
    "sqlite-vec": _sqlite_vec,
    "usearch-hnsw": _usearch_hnsw,
}
EXACT = ("kinsight", "numpy", "usearch-exact", "faiss-flat", "sqlite-vec")


def _rows(keys: object, queries: int) -> NDArray[np.int64]:
    return np.asarray(keys).reshape(queries, -1).astype(np.int64)


def _loading_sqlite() -> Any:
    """A connection of a driver that can load extensions: Python's own often cannot."""
    import sqlite3

    if hasattr(sqlite3.Connection, "enable_load_extension"):
        return sqlite3.connect(":memory:")
    from sqlcipher3 import dbapi2

    return dbapi2.connect(":memory:")
