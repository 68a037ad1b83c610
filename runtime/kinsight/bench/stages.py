"""What each stage takes on this device, what kinsight adds to bare models, and how long it takes to start."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kinsight.assistant import Assistant
from kinsight.embed import embed_scene
from kinsight.errors import MissingPackage
from kinsight.image import crop, load, prepare
from kinsight.recall import recall
from kinsight.types import Photo

ROUNDS = 7
_ANSWER_TOKENS = 32


def stages(assistant: Assistant, photos: Sequence[Path]) -> dict[str, Any]:
    """Medians over the photos, in milliseconds; `see_ratio` is detect + embed against bare session runs.

    Bare and whole are measured in turn, on the same photo, so that a noisy machine hurts both alike.
    """
    rows = [_measure(assistant, load(path)) for path in photos]
    median = {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}
    ratio = statistics.median(row["see_ms"] / row["bare_ms"] for row in rows)
    return {
        "format": 1,
        "bench": "stages",
        "bundle": assistant.bundle.name,
        "photos": len(photos),
        "device": assistant.device.name,
        **median,
        "see_ratio": round(ratio, 3),
        **_answer(assistant, load(photos[0])),
        "peak_mb": round(peak_bytes() / 1e6),
    }


def _answer(assistant: Assistant, photo: Photo) -> dict[str, Any]:
    """Two questions about one photo, with nothing kept from earlier ones; {} without a language model."""
    part = assistant.bundle.llm
    if part is None:
        return {}
    from kinsight.llm import Generation, Picture, Text, Turn, load_llm

    started = time.perf_counter()
    try:
        llm = load_llm(part, assistant.device)
    except MissingPackage:
        return {}
    taken = {"llm_load_ms": 1e3 * (time.perf_counter() - started)}
    picture = () if part.sees == "nothing" else (Picture(photo.pixels),)
    with llm:
        for before, question in (("answer_", "What is this?"), ("again_", "Where is it?")):
            stream = llm.generate([Turn("user", (*picture, Text(question)))], Generation(_ANSWER_TOKENS))
            for _ in stream:
                pass
            taken |= {f"{before}{key}_ms": value for key, value in stream.usage.timings_ms.items()}
            tokens = stream.usage.tokens["answer"]
    decoding = taken["again_decode_ms"]  # the first token comes out of the prefill
    rate = {"tokens_per_s": round(1e3 * (tokens - 1) / decoding, 1)} if tokens > 1 and decoding else {}
    return {key: round(value, 1) for key, value in taken.items()} | rate


def peak_bytes() -> int:
    """The most memory that this process ever held; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def start() -> dict[str, Any]:
    """How long `import kinsight` and `kinsight --help` take in a new process, medians in seconds."""
    lines = {"import_s": ["-c", "import kinsight"], "help_s": ["-m", "kinsight", "--help"]}
    runs = [
        lambda line=line: subprocess.run([sys.executable, *line], check=True, stdout=subprocess.DEVNULL)
        for line in lines.values()
    ]
    taken = [round(ms / 1e3, 3) for ms in _in_turn(runs)]
    return {"format": 1, "bench": "start", **dict(zip(lines, taken, strict=True))}


def _measure(assistant: Assistant, photo: Photo) -> dict[str, float]:
    detector, embedder = assistant.detector, assistant.embedder
    regions = detector.detect(photo.pixels)
    crops = [crop(photo.pixels, regions.box(row)) for row in range(len(regions))]
    one = detector.feeds(prepare(photo.pixels, detector.part.preprocess)[0])
    batches = embedder.feeds([*crops, photo.pixels])
    memory, rules, vectors = assistant.memory(), assistant.rules, embed_scene(photo, regions, embedder)

    def bare() -> None:
        detector.session.run(one)
        for batch in batches:
            embedder.session.run(batch)

    bare_ms, see_ms, detect_ms, recall_ms = _in_turn(
        [
            bare,
            lambda: embed_scene(photo, detector.detect(photo.pixels), embedder),
            lambda: detector.detect(photo.pixels),
            lambda: recall(regions, vectors, memory, rules),
        ]
    )
    return {
        "regions": len(regions),
        "decode_ms": photo.decode_ms,
        "detect_ms": detect_ms,
        "embed_ms": see_ms - detect_ms,
        "recall_ms": recall_ms,
        "see_ms": see_ms,
        "bare_ms": bare_ms,
    }


def _in_turn(works: Sequence[Callable[[], object]]) -> list[float]:
    """The median milliseconds of each, run one after the other for several rounds after one that warms up."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(ROUNDS + 1):
        for work, taken in zip(works, times, strict=True):
            started = time.perf_counter()
            work()
            if turn:
                taken.append(1e3 * (time.perf_counter() - started))
    return [statistics.median(taken) for taken in times]
