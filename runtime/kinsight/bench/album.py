"""What the album adds to bare detecting and embedding, on photos of a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kinsight.assistant import Assistant
from kinsight.embed import embed_scene
from kinsight.image import load

_BARE_EACH = 8
"""Every so many-th photo is looked at bare afterwards, and stands for the others."""


def album(
    assistant: Assistant, photos: Sequence[Path], progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Adds the photos to the assistant's album; `ratio` is all of it against detect + embed of as many.

    In processor time of all threads, since a busy machine stretches the other; `photos_per_s` is by the
    clock. Decoding, hashing, thumbnails and the store are in what the album takes.
    """
    seen = photos[::_BARE_EACH]
    assistant.album.add(seen[:1])  # loads the models
    started, worked = time.perf_counter(), time.process_time()
    added = assistant.album.add(photos, progress).added
    spent, taken = time.perf_counter() - started, time.process_time() - worked
    bare_each = bare_s(assistant, seen)
    return {
        "format": 1,
        "bench": "album",
        "bundle": assistant.bundle.name,
        "photos": added,
        "photos_per_s": round(added / spent, 2),
        "add_ms": round(1e3 * taken / added, 2),
        "detect_embed_ms": round(1e3 * bare_each, 2),
        "ratio": round(taken / added / bare_each, 3),
    }


def bare_s(assistant: Assistant, photos: Sequence[Path]) -> float:
    """Processor seconds a photo of detecting and embedding, one by one, the models loaded before."""
    assistant.see(load(photos[0]))
    spent = 0.0
    for path in photos:
        photo = load(path)
        started = time.process_time()
        embed_scene(photo, assistant.detector.detect(photo.pixels), assistant.embedder)
        spent += time.process_time() - started
    return spent / len(photos)
