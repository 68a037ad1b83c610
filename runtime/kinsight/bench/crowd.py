"""A store of thousands of concepts: how long kinsight takes to start on it, and to look somebody up in it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinsight.assistant import Assistant, Choices
from kinsight.bench.search import Task, made_up
from kinsight.embed import embed_scene
from kinsight.image import encode_jpeg, load
from kinsight.store import Incoming, IncomingCrop, Owner, now
from kinsight.types import Floats, Photo

_PICTURE_SIDE = 96  # pixels
_STARTS = 3
_ROUNDS = 7
_APART = 0.7
"""Length of what is added at random to a region of the photos, for somebody who resembles it."""


def crowd(assistant: Assistant, concepts: int, photos: Sequence[Path]) -> dict[str, Any]:
    """Fills the assistant's store with made-up concepts of one view each, starts anew on it, and looks.

    Two crowds: one is made up, the other ("alike") resembles what the photos show, as its vectors lie around
    those of their regions. `lookup_share` is what recall takes of one look from the file to the names, the
    median over the photos, in processor time: of all threads for the look, of its only thread for the
    look-up, as those of the models spin for a while after their work. `clock_share` is the same by the clock,
    where the models work on all cores and recall on one. `start_s` is a new process until it could recognise
    somebody, the best of some.
    """
    owners = _fill(assistant, concepts)
    task = Task(len(owners), assistant.bundle.embedder.dim)
    _dress(assistant, owners, made_up(task)[0])
    found = _shares([_looks(assistant, path) for path in photos])
    starts = [_start(assistant) for _ in range(_STARTS)]
    _dress(assistant, owners, _alike(assistant, photos, len(owners)))
    alike = _shares([_looks(assistant, path) for path in photos])
    return {
        "format": 1,
        "bench": "crowd",
        "bundle": assistant.bundle.name,
        "concepts": concepts,
        "photos": len(photos),
        **found,
        "alike": alike,
        "start_s": round(min(spent for spent, _ in starts), 3),
        "start_processor_s": round(min(worked for _, worked in starts), 3),
    }


def _shares(rows: Sequence[tuple[float, ...]]) -> dict[str, float]:
    """Of what `_looks` gives, a row a photo."""
    look_ms, lookup_ms, look_clock_ms, lookup_clock_ms = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    return {
        "look_ms": round(look_ms, 2),
        "lookup_ms": round(lookup_ms, 2),
        "lookup_share": round(statistics.median(row[1] / row[0] for row in rows), 4),
        "look_clock_ms": round(look_clock_ms, 2),
        "lookup_clock_ms": round(lookup_clock_ms, 2),
        "clock_share": round(statistics.median(row[3] / row[2] for row in rows), 4),
    }


def _fill(assistant: Assistant, concepts: int) -> list[Owner]:
    """The owners of the views that have no vector yet."""
    rng, at = np.random.default_rng(0), now()
    picture = encode_jpeg(rng.integers(0, 255, (_PICTURE_SIDE, _PICTURE_SIDE, 3), np.uint8))
    box = (0.0, 0.0, float(_PICTURE_SIDE), float(_PICTURE_SIDE))
    crops = [IncomingCrop(lambda: picture, box, f"{number:064x}", at) for number in range(concepts)]
    assistant.store.bring(
        [
            Incoming(f"Nobody {number}", (), "", "", None, at, at, (crop,), ())
            for number, crop in enumerate(crops)
        ]
    )
    return assistant.store.views_without_vector(assistant.bundle.embedder.id)


def _dress(assistant: Assistant, owners: Sequence[Owner], vectors: Floats) -> None:
    assistant.store.put_vectors(assistant.bundle.embedder.id, owners, vectors)


def _alike(assistant: Assistant, photos: Sequence[Path], count: int) -> Floats:
    """float32 (count, dim), unit length: around the vectors of the photos' regions."""
    rng = np.random.default_rng(0)
    shown = np.concatenate([assistant.see(load(path)).vectors for path in photos])
    apart = rng.standard_normal((count, shown.shape[1]), np.float32) * np.float32(
        _APART / shown.shape[1] ** 0.5
    )
    near = shown[rng.integers(0, len(shown), count)] + apart
    vectors: Floats = near / np.linalg.norm(near, axis=1, keepdims=True)
    return vectors


def _looks(assistant: Assistant, path: Path) -> tuple[float, ...]:
    """Milliseconds of one look, and of the look-up in it: of processor time, then by the clock; medians."""
    turns = []
    for _ in range(_ROUNDS + 1):
        began, worked = time.perf_counter(), time.process_time()
        photo: Photo = load(path)
        regions = assistant.detector.detect(photo.pixels)
        vectors = embed_scene(photo, regions, assistant.embedder)
        saw, seen, mine = time.perf_counter(), time.process_time(), time.thread_time()
        assistant.recognise(regions, vectors)
        lookup, ended = time.thread_time() - mine, time.perf_counter()
        turns.append((seen - worked + lookup, lookup, ended - began, ended - saw))
    columns = zip(*turns[1:], strict=True)  # the first one loads the models
    return tuple(1e3 * statistics.median(column) for column in columns)


def _start(assistant: Assistant) -> tuple[float, float]:
    """Seconds of a new process by the clock, and of its processor time."""
    home, bundle = str(assistant.home.folder), str(assistant.bundle.folder)
    line = [sys.executable, "-m", "kinsight.bench.crowd", home, bundle]
    started = time.perf_counter()
    ended = subprocess.run(line, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, float(json.loads(ended.stdout)["processor_s"])


def main(home: str, bundle: str) -> None:
    """A process that opens everything and gets ready to recognise."""
    with Assistant.open(Choices(Path(home), bundle)) as assistant:
        views = assistant.memory().views
        views.look(views.vectors[:1]).near(1)
    print(json.dumps({"processor_s": time.process_time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
