"""The verbs that measure: `eval` on photos of known identities, `bench` on this device; JSON comes last."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import Desk, desk_options, pass_desk, progress
from kinsight.cli.show import columns, timings_line
from kinsight.errors import ModelError

if TYPE_CHECKING:
    from kinsight.assistant import Assistant

_FOLDER = click.Path(path_type=Path)


@click.group(name="eval", invoke_without_command=True)
@click.pass_context
def evaluate(context: click.Context) -> None:
    """Measure how well people, pets and things are recognised."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@evaluate.command(epilog="Example: kinsight eval retrieval identities --strangers others --out curve.png")
@click.argument("folder", type=_FOLDER)
@click.option("--strangers", multiple=True, type=_FOLDER, help="A folder with photos of nobody; repeatable.")
@click.option(
    "--shots", type=click.IntRange(1), default=1, show_default=True, help="Pictures to teach each one from."
)
@click.option("--out", type=_FOLDER, help="Write the accept / wrong-name curve as a picture.")
@click.option("--confusion", type=_FOLDER, help="Write who was called whom as a picture.")
@pass_desk
def retrieval(
    desk: Desk,
    folder: Path,
    strangers: tuple[Path, ...],
    shots: int,
    out: Path | None,
    confusion: Path | None,
) -> None:
    """Teach each identity from one picture or more: who is found, who is named, and who wrongly.

    FOLDER holds a folder of photos per identity, and perhaps reference_boxes.json with hand-drawn boxes.
    Threshold and cohort come from the other identities.
    """
    from kinsight.evaluate import Reader, measure

    with desk.assistant() as assistant:
        reader = Reader(assistant.detector, assistant.embedder, progress)
        vocabulary = assistant.rules.vocabulary
        report, scores = measure(reader.identities(folder), reader.strangers(strangers), vocabulary, shots)
    first = f"{report.recall_at_1:.1%} of {report.queries} photos"
    right, wrong = f"{report.accepted_right:.1%}", f"{report.wrongly_named:.1%} of {report.strangers}"
    click.echo(
        f"The right one of {report.identities} comes first in {first}. "
        f"With the threshold of other identities {right} get their name, and {wrong} strangers get one."
    )
    click.echo(f"A photo takes, in the median: {timings_line(report.timings_ms, {})}.")
    _last_line({"format": 1, "eval": "retrieval", **asdict(report)})
    from kinsight.evaluate.plot import plot, plot_confusion

    if out:
        plot(report, scores, out)
        desk.note(f"The curve is in {out}")
    if confusion:
        plot_confusion(scores, confusion)
        desk.note(f"Who was called whom is in {confusion}")


@evaluate.command(
    epilog="Examples: kinsight eval negatives, kinsight eval negatives identities --only dog --only dog3"
)
@click.argument("folder", type=_FOLDER, required=False)
@click.option("--only", multiple=True, help="An identity of FOLDER; repeatable, without it all.")
@click.option("--pairs", type=click.IntRange(1), default=200, show_default=True, help="Drawn look-alikes.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn.")
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Probability for a name; without it the bundle's."
)
@pass_desk
def negatives(
    desk: Desk, folder: Path | None, only: tuple[str, ...], pairs: int, seed: int, threshold: float | None
) -> None:
    """Take a look-alike for somebody by force, refuse it once, and see whom that helps or harms.

    FOLDER holds a folder of photos per identity; every ordered pair of them is tried. Without it pairs are
    drawn who differ in one attribute. --threshold 0 names whatever no negative keeps from the name.
    """
    from kinsight.evaluate import Reader
    from kinsight.evaluate.lookalikes import Sketcher, as_json, at_threshold, photo_pairs
    from kinsight.evaluate.lookalikes import negatives as measure

    with desk.assistant(looks=folder is not None) as assistant:
        eyes = assistant.detector, assistant.embedder
        if folder:
            tried = photo_pairs(Reader(*eyes, progress).identities(folder), only)
        else:
            tried = list(Sketcher(*eyes, seed).pairs(pairs, progress))
        result = measure(tried, at_threshold(assistant.rules, threshold), progress)
    click.echo(
        f"Of {result.others} photos of look-alikes {result.named_before} had the wrong name before one of "
        f"them was refused, {result.named_after} after it; of {result.own} right ones {result.lost} were "
        f"lost, more than one in {result.trials_lost_more_than_one} of {result.trials} trials."
    )
    _last_line(as_json(result))


@evaluate.command(epilog="Example: kinsight eval twins --scenes 200")
@click.option("--scenes", type=click.IntRange(1), default=200, show_default=True, help="Drawn pictures.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn.")
@pass_desk
def twins(desk: Desk, scenes: int, seed: int) -> None:
    """Draw two look-alikes into one picture: they must never get the same name."""
    from kinsight.evaluate.lookalikes import Sketcher, as_json

    with desk.assistant(looks=False) as assistant:
        result = Sketcher(assistant.detector, assistant.embedder, seed).twins(
            scenes, assistant.rules, progress
        )
    click.echo(
        f"In {result.scenes} pictures of two look-alikes the same name stood twice in "
        f"{result.same_name_twice}; both right {result.both_right}, one right and the other unknown "
        f"{result.one_right}, nobody named {result.nobody_named}, somebody wrong {result.somebody_wrong}."
    )
    _last_line(as_json(result))


@evaluate.command(epilog="Example: kinsight eval questions identities --strangers others")
@click.argument("folder", type=_FOLDER)
@click.option("--strangers", multiple=True, type=_FOLDER, help="A folder with photos of nobody; repeatable.")
@click.option("--verbose", is_flag=True, help="Print every wrong answer.")
@click.option("--cross-fit", is_flag=True, help="Judge each identity by a fit on the others.")
@pass_desk
def questions(desk: Desk, folder: Path, strangers: tuple[Path, ...], verbose: bool, cross_fit: bool) -> None:
    """Teach every identity in FOLDER, then ask who, where and whether about all other photos.

    Nothing of yours is touched: the names go into a home of their own that is deleted afterwards.
    """
    import tempfile

    from kinsight.evaluate import Interviewer, Reader, cross_fitted

    with tempfile.TemporaryDirectory() as scratch, desk.newcomer(Path(scratch)) as assistant:
        desk.warn(assistant)
        fits = None
        if cross_fit:
            reader = Reader(assistant.detector, assistant.embedder, progress)
            fits = cross_fitted(reader.identities(folder), assistant.rules.vocabulary)
        result = Interviewer(assistant, folder, progress, fits).run(strangers)
    for kind, tally in result.tallies.items():
        click.echo(
            f"{kind}: {tally.asked} asked, {tally.right} right, "
            f"{tally.abstained} abstained, {len(tally.wrong)} wrong"
        )
        for line in tally.wrong if verbose else ():
            click.echo(f"  wrong: {line}")
    for line in result.stray:
        click.echo(f"stray name: {line}")
    kinds = {
        kind: {"asked": t.asked, "right": t.right, "abstained": t.abstained, "wrong": len(t.wrong)}
        for kind, t in result.tallies.items()
    }
    _last_line(
        {
            "format": 1,
            "eval": "questions",
            "questions": result.questions(),
            "stray_names": len(result.stray),
            "in_plain_words": result.plain,
            "subjects": len(result.answered_of),
            "subjects_all_right": result.subjects_right(),
            **kinds,
        }
    )


@click.group(invoke_without_command=True)
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure this device."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_check = click.option("--check", is_flag=True, help="Fail where a figure misses its line, and say which.")


@bench.command(epilog="Example: kinsight bench start")
def start() -> None:
    """How long it takes until kinsight is there."""
    from kinsight.bench import start as measure

    result = measure()
    click.echo(f"import kinsight takes {result['import_s']:.2f} s, kinsight --help {result['help_s']:.2f} s.")
    _last_line(result)


@bench.command(epilog="Example: kinsight bench stages holiday/*.jpg")
@click.argument("photos", nargs=-1, required=True, type=_FOLDER)
@pass_desk
def stages(desk: Desk, photos: tuple[Path, ...]) -> None:
    """What each stage takes on this device, from the picture to the answer.

    Vision is measured in turn with the bare session runs, to tell what kinsight adds. The language model
    answers two questions about the first photo; of the second one the photo is read already.
    """
    from kinsight.bench import stages as measure

    with desk.assistant() as assistant:
        result = measure(assistant, photos)
    for line in columns(_stage_rows(assistant, result)):
        click.echo(line)
    click.echo(f"detect + embed take {result['see_ratio']:.3f} of the bare session runs.")
    _last_line(result)


@bench.command(epilog="Example: kinsight bench engine --bundle build/shapes/smolvlm-256m")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="New photos per format.")
@click.option(
    "--transformers", metavar="CHECKPOINT", type=_FOLDER, help="Ask transformers as well, on this checkpoint."
)
@click.option("--memory", is_flag=True, help="Only the memory, which other work does not disturb.")
@_check
@pass_desk
def engine(desk: Desk, rounds: int, transformers: Path | None, memory: bool, check: bool) -> None:
    """The language model beside llama-cpp-python's own multimodal handler, on drawn photos.

    Three concepts are taught; then a first and a second question about every new photo, and one more from a
    new process. The handler gets the same files, threads and cap on a picture's tokens. So does transformers,
    which needs the extra [export], on the checkpoint that the bundle was made from.
    """
    import tempfile

    from kinsight.bench.engine import EngineBench, engine_lines, memory_lines, memory_missed, missed

    with tempfile.TemporaryDirectory() as scratch, desk.assistant(looks=False) as assistant:
        if assistant.bundle.llm is None or assistant.bundle.llm.mmproj is None:
            raise ModelError(
                f"the bundle {assistant.bundle.name} has no language model that sees", "use another bundle"
            )
        measuring = EngineBench(assistant.bundle, assistant.device, rounds, progress)
        result = measuring.memory() if memory else measuring.run(Path(scratch), transformers)
    for line in memory_lines(result) if memory else engine_lines(result):
        click.echo(line)
    _last_line({"format": 1, "bench": "engine", "bundle": assistant.bundle.name, "rounds": rounds, **result})
    if check and (lines := memory_missed(result) if memory else missed(result)):
        raise ModelError("; ".join(lines), "measure again on an idle machine, or find what has become slower")


def _stage_rows(assistant: Assistant, result: dict[str, Any]) -> list[list[str]]:
    """Stage, milliseconds, and where it runs."""
    where = {
        "detect_ms": assistant.detector.session.reason,
        "embed_ms": assistant.embedder.session.reason,
        "llm_load_ms": f"{assistant.device.gpu_layers} layers on the GPU",
    }
    rows = [
        [key.removesuffix("_ms").replace("_", " "), f"{value:.1f} ms", where.get(key, "")]
        for key, value in result.items()
        if key.endswith("_ms")
    ]
    rate = [["answer", f"{result['tokens_per_s']} tokens/s", ""]] if "tokens_per_s" in result else []
    return [*rows, *rate, ["memory", f"{result['peak_mb']} MB", "at its peak"]]


@bench.command(epilog="Examples: kinsight bench pocket, kinsight bench pocket --seed 7 --scenes 12")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the album.")
@click.option(
    "--scenes", type=click.IntRange(1), default=96, show_default=True, help="Pictures to ask about."
)
@_check
@pass_desk
def pocket(desk: Desk, seed: int, scenes: int, check: bool) -> None:
    """Draw an album from a seed, teach 20 of it from one picture each, ask about all of it.

    Look-alikes of theirs are in the pictures too. Nothing of yours is touched: the names go into a home of
    their own that is deleted afterwards.
    """
    import tempfile

    from kinsight.drawn.album import Recipe, draw_album
    from kinsight.evaluate import FIGURES, LINES, PocketBench, missed

    with tempfile.TemporaryDirectory() as scratch, desk.newcomer(Path(scratch)) as assistant:
        album = draw_album(seed, Recipe(scenes=scenes))
        result = PocketBench(assistant, album, progress).run(Path(scratch))
    for key, words in FIGURES.items():
        line = (
            f"  {'at most' if key == 'absent_naming' else 'at least'} {LINES[key]:.0%}"
            if key in LINES
            else ""
        )
        click.echo(f"{words:<70} {result[key]:6.1%}{line}")
    _last_line(result)
    if check and (lines := missed(result)):
        raise ModelError(
            f"these miss their line: {', '.join(lines)}", "train the bundle further, or mend what reads it"
        )


for _group in (evaluate, bench):
    for _verb in _group.commands.values():
        _verb.params.extend(desk_options(hidden=True))


def _last_line(values: dict[str, Any]) -> None:
    click.echo(json.dumps(_rounded(values)))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return round(value, 4) if isinstance(value, float) else value
