"""Several ways to make one part smaller: the fastest that keeps every limit wins, the others say why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from kinsight.errors import ParityError
from kinsight.evaluate.plot import new_figure, save_figure
from kinsight_export.gate.report import Report
from kinsight_export.gate.timing import busy_words

_ALIKE = 1.03  # times within which two times are equal, as a clock has noise, and two sizes


@dataclass(frozen=True)
class Candidate:
    """One way, made and measured."""

    name: str  # "f16", "Q8_0", "int8 static"
    files: tuple[Path, ...]
    megabytes: float
    milliseconds: float  # of the same work as every other one
    report: Report  # against the source, with the limits of the loss that was stated


@dataclass(frozen=True)
class Choice:
    """What was chosen among candidates, and why."""

    chosen: Candidate
    verdicts: tuple[tuple[Candidate, str], ...]  # every one with "chosen", or why not

    @property
    def kept(self) -> bool:
        """Whether the first was chosen: the one as the source has it."""
        return self.chosen is self.verdicts[0][0]

    def table(self) -> dict[str, Any]:
        """What stands in bundle.toml under [parity.PART_candidates]."""
        return {
            candidate.name: {
                "megabytes": round(candidate.megabytes, 3),
                "milliseconds": round(candidate.milliseconds, 3),
                "verdict": verdict,
                **{check.name.replace(" ", "_"): check.figure for check in candidate.report.checks},
            }
            for candidate, verdict in self.verdicts
        }


def choose(candidates: Sequence[Candidate]) -> Choice:
    """The fastest of those that keep their limits; the first is the one as the source has it.

    Of those that are as fast the smallest, and of those that are as small what is most like the source.
    ParityError where none does: its figures are those of the first.
    """
    kept = [candidate for candidate in candidates if not list(candidate.report.broken())]
    if not kept:
        candidates[0].report.require()
        raise ParityError("no candidate keeps its limits", "state a greater loss")
    fastest = min(candidate.milliseconds for candidate in kept)
    fast = [candidate for candidate in kept if candidate.milliseconds <= fastest * _ALIKE]
    smallest = min(candidate.megabytes for candidate in fast)
    small = [candidate for candidate in fast if candidate.megabytes <= smallest * _ALIKE]
    chosen = max(small, key=_likeness)
    return Choice(chosen, tuple((each, _verdict(each, chosen)) for each in candidates))


def _likeness(candidate: Candidate) -> float:
    """By the first thing that is compared with the source: the more the better."""
    first = next(iter(candidate.report.checks), None)
    if first is None:
        return 0.0
    return first.figure if first.bound == "at least" else -first.figure


def _verdict(candidate: Candidate, chosen: Candidate) -> str:
    if candidate is chosen:
        return "chosen"
    broken = next(candidate.report.broken(), None)
    if broken:
        return f"refused: {broken.name}, {broken.words}"
    if candidate.milliseconds > chosen.milliseconds * _ALIKE:
        times = candidate.milliseconds / chosen.milliseconds
        return f"refused: {times:.2f} times the time of {chosen.name}"
    why = "bigger" if candidate.megabytes > chosen.megabytes * _ALIKE else "less like the source"
    return f"refused: as fast as {chosen.name}, and {why}"


def print_choice(choice: Choice, out: TextIO | None = None) -> None:
    """A table of the candidates; standard output by default."""
    from rich.console import Console
    from rich.table import Table

    baseline = choice.verdicts[0][0].milliseconds
    table = Table(title=f"{choice.chosen.report.part}: candidates", title_justify="left")
    for heading in ("candidate", "MB", "ms", "time", "figures", "verdict"):
        table.add_column(heading, overflow="fold")
    for candidate, verdict in choice.verdicts:
        figures = ", ".join(f"{check.name} {check.figure:.3g}" for check in candidate.report.checks)
        size, time = f"{candidate.megabytes:.1f}", f"{candidate.milliseconds:.1f}"
        share = f"{candidate.milliseconds / baseline:.2f}"
        table.add_row(candidate.name, size, time, share, figures, verdict)
    console = Console(file=out, highlight=False)
    console.print(table)
    if words := busy_words():
        console.print(words)


def plot_choice(choice: Choice, path: Path) -> None:
    """Size against time, the chosen one marked; raises as `kinsight.evaluate.plot.plot`."""
    figure = new_figure(6, 4)
    axes = figure.add_subplot()
    for candidate, verdict in choice.verdicts:
        broken = bool(list(candidate.report.broken()))
        colour = "firebrick" if broken else "seagreen" if verdict == "chosen" else "grey"
        axes.scatter(candidate.megabytes, candidate.milliseconds, color=colour)
        place = (candidate.megabytes, candidate.milliseconds)
        axes.annotate(candidate.name, place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="MB", ylabel="ms", title="red: loses too much; green: chosen")
    save_figure(figure, path)
