"""Measures the finished pocket bundle through the whole runtime and writes its model card."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from kinsight.assistant import Assistant, Choices
from kinsight.bundle.verify import sha256_of
from kinsight.drawn.album import draw_album, fingerprint
from kinsight.errors import ModelError
from kinsight.evaluate import FIGURES, LINES, PocketBench, missed
from kinsight_train.detector.training import DETECTOR_SCHEDULE
from kinsight_train.embedder.training import EMBEDDER_SCHEDULE
from kinsight_train.loop import Schedule
from kinsight_train.mllm.training import COURSE, SHAPE
from kinsight_train.pocket import FIGURES_FILE

SEEDS = (1, 2, 3)
MOST_FALL = 0.01
CARD = "README.md"


def bench(bundle: Path, seed: int) -> dict[str, Any]:
    """What `kinsight bench pocket` gives, in a home of its own."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        Assistant.open(Choices(Path(scratch) / "home", str(bundle.absolute()))) as assistant,
    ):
        run = PocketBench(assistant, draw_album(seed), lambda what, done, total: None)
        return run.run(Path(scratch) / "album")


def write_card(
    bundle: Path, unquantised: Path, figures: Mapping[str, Any], report: Callable[[str], None]
) -> None:
    """Runs the bench with three seeds, and on the unquantised bundle; card and figures go into the bundle.

    Raises ModelError where a run misses a line, or quantisation costs a point.
    """

    def benched(folder: Path, seed: int) -> dict[str, Any]:
        run = bench(folder, seed)
        report(f"{folder.name}, seed {seed}: " + ", ".join(f"{name} {run[name]:.3f}" for name in FIGURES))
        return run

    runs, whole_runs = ([benched(folder, seed) for seed in SEEDS] for folder in (bundle, unquantised))
    refuse_worse(runs, whole_runs)
    weights = [file for file in sorted(bundle.iterdir()) if file.suffix in (".onnx", ".gguf")]
    files = {file.name: sha256_of(file) for file in weights}
    whole = {
        **figures,
        "bench": runs,
        "bench_unquantised": whole_runs,
        "files": files,
        "world": fingerprint(),
    }
    (bundle / FIGURES_FILE).write_text(json.dumps(_rounded(whole), indent=1) + "\n", "utf-8")
    (bundle / CARD).write_text(card(whole), "utf-8")


def refuse_worse(runs: Sequence[Mapping[str, Any]], unquantised: Sequence[Mapping[str, Any]]) -> None:
    """ModelError where a run of the bench misses a line, or quantisation costs a point of any."""
    for run in runs:
        if names := missed(run):
            told = ", ".join(f"{name} is {run[name]:.3f} and not {LINES[name]}" for name in names)
            raise ModelError(f"seed {run['seed']}: {told}", "train the part behind it longer")
    fall = largest_fall({"bench": runs, "bench_unquantised": unquantised})
    if fall >= MOST_FALL:
        raise ModelError(f"quantisation costs {100 * fall:.1f} points", "quantise less")


def card(figures: Mapping[str, Any]) -> str:
    """The model card in Markdown."""
    template = Template(Path(__file__).with_name("card.md").read_text("utf-8"))
    schedules = (
        _schedule("detector", DETECTOR_SCHEDULE, "scenes"),
        _schedule("embedder", EMBEDDER_SCHEDULE, "crops"),
        _schedule("language model 1: its eyes alone", COURSE.eyes, "pictures"),
        _schedule("language model 2: all of it", COURSE.lessons, "photos with 6 questions each, or more"),
        _schedule("language model 3: what came seldom", COURSE.finish, "likewise"),
    )
    return template.substitute(
        layers=SHAPE.layers,
        width=SHAPE.hidden,
        vision_layers=SHAPE.vision_layers,
        vision_width=SHAPE.vision_hidden,
        picture_px=SHAPE.picture_px,
        megabytes=figures["megabytes"],
        schedules="\n".join(schedules),
        seeds=" | ".join(f"seed {run['seed']}" for run in figures["bench"]),
        dashes=" | ".join("---" for _ in figures["bench"]),
        bench=_bench_rows(figures["bench"]),
        sight=_sight_rows(figures),
        detector=_shares(figures["detector"]),
        embedder=_shares(figures["embedder"]),
        detector_onnx=f"{figures['detector_onnx']:.1e}",
        embedder_onnx=f"{figures['embedder_onnx']:.1e}",
        prompts=figures["llm_unquantised"]["prompts"],
        unquantised=_parity(figures["llm_unquantised"]),
        quantised=_parity(figures["llm_q8_0"]),
        fall=f"{100 * largest_fall(figures):.1f}",
    )


def largest_fall(figures: Mapping[str, Any]) -> float:
    """Of a score by quantisation, 0..1: means over the seeds, the worst of the six."""
    means = {
        runs: {name: statistics.fmean(run[name] for run in figures[runs]) for name in LINES}
        for runs in ("bench", "bench_unquantised")
    }
    signs = {name: -1.0 if name == "absent_naming" else 1.0 for name in LINES}
    falls = [signs[name] * (means["bench_unquantised"][name] - means["bench"][name]) for name in LINES]
    return max(0.0, *falls)


def _bench_rows(runs: list[Mapping[str, Any]]) -> str:
    return "\n".join(
        f"| {words} (`{name}`) | {' | '.join(f'{run[name]:.3f}' for run in runs)} |"
        for name, words in FIGURES.items()
    )


def _sight_rows(figures: Mapping[str, Any]) -> str:
    seen, blank, chance = (figures[name] for name in ("pictures_only", "pictures_blanked", "chance"))
    return "\n".join(
        f"| {name} | {seen[name]:.2f} | {blank[name]:.2f} | {chance[name]:.2f} |" for name in chance
    )


def _schedule(name: str, schedule: Schedule, what: str) -> str:
    return f"| {name} | {schedule.steps} | {schedule.batch} {what} | {schedule.peak_lr:g} |"


def _shares(scores: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.items() if isinstance(value, float)
    )


def _parity(parity: Mapping[str, Any]) -> str:
    return (
        f"the same first token after {parity['same_top']}, largest difference of a logit "
        f"{parity['largest_difference']:.3f} (pictures swapped, median: {parity['swapped_difference']:.2f})"
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value
