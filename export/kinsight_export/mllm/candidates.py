"""Smaller files of one model: made by the library's quantiser, judged, timed in turn; one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kinsight.bundle import LlmPart
from kinsight.config import DeviceConfig
from kinsight.llm import Picture, Text
from kinsight.llm.blobs import Blobs
from kinsight_export.gate import Report
from kinsight_export.gate.choice import Candidate, Choice, choose
from kinsight_export.gate.timing import least_ms
from kinsight_export.gguf_file import Kind, quantise
from kinsight_export.mllm.device import Device
from kinsight_export.mllm.exam import TEXT, Answers
from kinsight_export.mllm.judging import Limits, judge, judge_pictures

_ROUNDS = 3
_ANSWER = 16  # tokens that are said for the clock


@dataclass(frozen=True)
class Bench:
    """What all candidates of a model share."""

    answers: Answers
    part: LlmPart  # as converted
    limits: Limits
    config: DeviceConfig
    scratch: Path
    seen: Blobs  # pictures' embeddings, by the file that made them


def choose_encoder(bench: Bench, small: Path) -> Choice:
    """The picture encoder as converted, or `small`; judged by its embeddings, timed by one picture."""
    assert bench.part.mmproj is not None
    parts = [bench.part, replace(bench.part, mmproj=small)]
    picture = Picture(bench.answers.prompts[0].pictures[0])

    def judged(device: Device, part: LlmPart) -> Report:
        return judge_pictures(bench.answers, device, part, bench.limits)

    files = [(part.mmproj,) for part in parts if part.mmproj]
    return _chosen(
        bench,
        list(zip(("f16", "Q8_0"), files, parts, strict=True)),
        judged,
        lambda device: device.look(picture),
    )


def choose_words(bench: Bench, kinds: Sequence[Kind]) -> Choice:
    """The language model as converted or quantised; timed by reading a text and saying some tokens."""
    parts = [bench.part]
    for kind in kinds:
        file = quantise(bench.part.file, bench.scratch / f"llm-{kind.lower()}.gguf", kind)
        parts.append(replace(bench.part, file=file))

    def judged(device: Device, part: LlmPart) -> Report:
        return judge(bench.answers, device, part, bench.limits)

    rows = [(name, (part.file,), part) for name, part in zip(("f16", *kinds), parts, strict=True)]
    return _chosen(bench, rows, judged, lambda device: device.speak([Text(TEXT)], _ANSWER))


def _chosen(
    bench: Bench,
    rows: Sequence[tuple[str, tuple[Path, ...], LlmPart]],
    judged: Callable[[Device, LlmPart], Report],
    work: Callable[[Device], object],
) -> Choice:
    """All are loaded at once, so that every round of the clock meets the same machine."""
    with ExitStack() as stack:
        devices = [stack.enter_context(Device(part, bench.config, seen=bench.seen)) for _, _, part in rows]
        reports = [judged(device, part) for device, (_, _, part) in zip(devices, rows, strict=True)]
        times = least_ms([partial(work, device) for device in devices], _ROUNDS)
    return choose(
        [
            Candidate(name, files, sum(file.stat().st_size for file in files) / 1e6, milliseconds, report)
            for (name, files, _), milliseconds, report in zip(rows, times, reports, strict=True)
        ]
    )
