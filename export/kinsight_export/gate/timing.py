"""Sizes and latencies beside a comparison: of the file in the runtime, and of the source, in turn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kinsight_export.gate.report import Fact

ROUNDS = 15
_BUSY = 1.5  # processes a core that want to run; those that are timed here are one


def least_ms(works: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """The least milliseconds of each, run in turn so that all of them meet the same machine.

    What a round took more was taken by other processes, and says nothing of the work.
    """
    for work in works:
        work()
    took = [[_took(work) for work in works] for _ in range(rounds)]
    return [float(value) * 1e3 for value in np.min(took, axis=0)]


def busy_words() -> str:
    """Says that the times are rough, where other programs wanted to run in the last minute; else ""."""
    if not hasattr(os, "getloadavg"):  # on Windows
        return ""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= _BUSY * cores:
        return ""
    return (
        f"This machine is busy, {load:.1f} processes want to run on {cores} cores: the times are rough, "
        "do it again when it is idle."
    )


def _took(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def size_and_time(
    files: Sequence[Path], ours: Callable[[], object], theirs: Callable[[], object]
) -> list[Fact]:
    """Of one picture, as facts of a report."""
    mine, source = least_ms([ours, theirs], rounds=3)
    return [
        Fact("size", sum(file.stat().st_size for file in files) / 1e6, "MB"),
        Fact("time", mine, "ms a picture in the runtime, here"),
        Fact("time against source", mine / source, "of the source's time"),
    ]
