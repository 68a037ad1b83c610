"""How long the nearest of many views take to find, how many are found, and what it costs to be ready."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinsight.bench.searchers import EXACT, SEARCHERS
from kinsight.types import Floats

_LATENT = 48
"""Directions in which made-up individuals differ; as many as hold most of what real embeddings hold."""
_VIEWS_EACH = 4
_ROUNDS = 15
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """What is searched for, and how."""

    views: int
    dim: int = 256
    queries: int = 8  # at once: what one photo asks for
    nearest: int = 10
    threads: int = 0  # 0: all cores
    seed: int = 0
    limit_s: float = 600.0  # for getting ready and searching


@dataclass(frozen=True)
class Row:
    """How one searcher did one task."""

    searcher: str
    views: int
    search_ms: float  # median over 15 batches, of all queries of a batch together
    processor_ms: float  # the same in processor time, on which a busy machine has less influence
    found: float  # share of the truly nearest
    build_s: float
    memory_mb: float  # beside the vectors themselves, at its peak


def compare(
    searchers: Sequence[str], tasks: Sequence[Task], progress: Callable[[str, int, int], None]
) -> Iterator[Row | tuple[str, int, str]]:
    """A row for every searcher and task, or (searcher, views, why there is none).

    Each runs in a process of its own on the same made-up views: individuals with four views each.
    """
    done, total = 0, len(searchers) * len(tasks)
    for task in tasks:
        with tempfile.TemporaryDirectory() as folder:
            vectors, queries = made_up(task)
            truth = _brute_force(vectors, queries, task.nearest)
            for name, array in (("vectors", vectors), ("queries", queries), ("truth", truth)):
                np.save(Path(folder) / f"{name}.npy", array)
            del vectors
            for searcher in searchers:
                progress(f"{searcher} among {task.views:,} views", done, total)
                yield _in_a_process(searcher, task, Path(folder))
                done += 1
    progress("searches", done, total)


def summary(rows: Sequence[Row], failures: Sequence[tuple[str, int, str]], task: Task) -> dict[str, Any]:
    """The JSON line; `exact_ratio` is kinsight's processor time against the best other exact searcher's."""
    ratios: dict[str, float] = {}
    for views in sorted({row.views for row in rows}):
        times = {row.searcher: row.processor_ms for row in rows if row.views == views}
        others = [taken for name, taken in times.items() if name in EXACT and name != "kinsight"]
        if "kinsight" in times and others:
            ratios[str(views)] = round(times["kinsight"] / min(others), 3)
    given = {key: value for key, value in asdict(task).items() if key not in ("views", "limit_s")}
    return {
        "format": 1,
        "bench": "recall",
        **given,
        "rows": [asdict(row) for row in rows],
        "left_out": [{"searcher": name, "views": views, "reason": why} for name, views, why in failures],
        "exact_ratio": ratios,
    }


def made_up(task: Task) -> tuple[Floats, Floats]:
    """Views (n, dim) and queries (15 * m, dim), float32 of unit length.

    An individual is a point of few directions and a little noise in all of them; its views, and a query that
    shows it, lie around it.
    """
    rng = np.random.default_rng(task.seed)
    mixing = rng.standard_normal((_LATENT, task.dim), np.float32) / np.float32(_LATENT**0.5)
    individuals = -(-task.views // _VIEWS_EACH)

    def around(points: Floats) -> Floats:
        noisy = (points + 0.5 * rng.standard_normal(points.shape, np.float32)) @ mixing
        noisy += 0.2 * rng.standard_normal(noisy.shape, np.float32)
        unit: Floats = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
        return unit

    points = rng.standard_normal((individuals, _LATENT), np.float32)
    vectors = np.concatenate([around(points) for _ in range(_VIEWS_EACH)])[: task.views]
    asked = points[rng.integers(0, individuals, _ROUNDS * task.queries)]
    return vectors, around(asked)


def measure(searcher: str, task: Task, folder: Path) -> Row:
    """In this process: gets ready, searches batch by batch, compares with the truth in `folder`."""
    vectors, queries, truth = (np.load(folder / f"{name}.npy") for name in ("vectors", "queries", "truth"))
    before = _peak_mb()
    started = time.perf_counter()
    search = SEARCHERS[searcher](vectors, task.threads)
    build_s = time.perf_counter() - started
    k = min(task.nearest, task.views)
    batches = np.split(queries, _ROUNDS)
    search(batches[0], k)  # warms up
    times, processor, found = [], [], []
    for batch in batches:
        started, worked = time.perf_counter(), time.process_time()
        found.append(search(batch, k))
        processor.append(time.process_time() - worked)
        times.append(time.perf_counter() - started)
    hits = [len(set(mine) & set(true)) / k for mine, true in zip(np.concatenate(found), truth, strict=True)]
    return Row(
        searcher,
        task.views,
        1e3 * statistics.median(times),
        1e3 * statistics.median(processor),
        statistics.mean(hits),
        build_s,
        max(0.0, _peak_mb() - before),
    )


def _brute_force(vectors: Floats, queries: Floats, nearest: int) -> NDArray[np.int64]:
    """int64 (15 * m, k): in float64, a few queries at a time."""
    k = min(nearest, len(vectors))
    rows = []
    for query in queries:
        cosines = np.einsum("nd,d->n", vectors, query)
        near = np.argpartition(-cosines, k - 1)[:k]
        rows.append(near[np.argsort(-(vectors[near].astype(np.float64) @ query))])
    return np.array(rows, np.int64)


def _in_a_process(searcher: str, task: Task, folder: Path) -> Row | tuple[str, int, str]:
    line = [sys.executable, "-m", "kinsight.bench.search", searcher, json.dumps(asdict(task)), str(folder)]
    environment = dict(os.environ)
    if task.threads:
        environment.update(dict.fromkeys(_THREAD_VARIABLES, str(task.threads)))
    try:
        ended = subprocess.run(
            line, capture_output=True, text=True, timeout=task.limit_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return searcher, task.views, f"longer than {task.limit_s:g} s"
    if ended.returncode:
        last = ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"]
        return searcher, task.views, last[-1]
    return Row(**json.loads(ended.stdout.splitlines()[-1]))


def _peak_mb() -> float:
    """Of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main(searcher: str, task: str, folder: str) -> None:
    """The process of one searcher: one line of JSON, or one of what is missing."""
    try:
        row = measure(searcher, Task(**json.loads(task)), Path(folder))
    except ImportError as error:
        raise SystemExit(f"{error}; it may come with pip install kinsight[bench]") from None
    print(json.dumps(asdict(row)))


if __name__ == "__main__":
    main(*sys.argv[1:])
