"""Shows reports of the gate: a table on the terminal, and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from kinsight.evaluate.plot import new_figure, save_figure
from kinsight_export.gate.report import Check, Report

_DECADES = 4.0  # of the room that a check has left or lacks, at most, in the picture


def print_reports(reports: Sequence[Report], out: TextIO | None = None) -> None:
    """A table a report, with the cause under every broken limit; standard output by default."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=out, highlight=False)
    for report in reports:
        table = Table(title=f"{report.part}: against {report.source}", title_justify="left")
        for heading in ("check", "compared", "figure", "limit", "verdict"):
            table.add_column(heading, overflow="fold")
        for check in report.checks:
            verdict = "kept" if check.kept else "[bold red]broken[/]"
            limit = f"{check.bound} {check.limit:g}"
            table.add_row(check.name, check.compared, f"{check.measure} {check.figure:.4g}", limit, verdict)
        for fact in report.facts:
            table.add_row(fact.name, "", f"{fact.figure:.4g} {fact.unit}", "", "")
        console.print(table)
        for what in report.unjudged:
            console.print(f"{what}, not judged.")
        broken = list(report.broken())
        causes = dict.fromkeys(check.cause for check in broken if check.cause) or dict.fromkeys(
            [""] if broken else []
        )
        for cause in causes:
            names = ", ".join(check.name for check in broken if check.cause == cause)
            console.print(f"{names}: probably {cause or 'not the same model'}.")


def plot_reports(reports: Sequence[Report], path: Path) -> None:
    """A bar a check: how far from its limit, in powers of ten; raises as `kinsight.evaluate.plot.plot`."""
    rows = [(report, check) for report in reports for check in report.checks]
    figure = new_figure(8, 1.5 + 0.4 * len(rows))
    axes = figure.add_subplot()
    lengths = [_room(check) for _, check in rows]
    axes.barh(range(len(rows)), lengths, color=["seagreen" if c.kept else "firebrick" for _, c in rows])
    axes.set_yticks(range(len(rows)), [f"{report.part}: {check.name}" for report, check in rows])
    axes.invert_yaxis()
    axes.axvline(0, color="black")
    for row, (_, check) in enumerate(rows):
        axes.annotate(
            check.words, (0, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7
        )
    axes.set(xlim=(-_DECADES, _DECADES), xlabel="room left to the limit, powers of ten (below 0: broken)")
    save_figure(figure, path)


def _room(check: Check) -> float:
    """Decades between the error that is allowed and the error that there is; 1 is the best of "at least"."""
    if not math.isfinite(check.figure):
        return -_DECADES
    best = max(1.0, check.limit) if check.bound == "at least" else 0.0
    error, allowed = abs(best - check.figure), abs(best - check.limit)
    if error == allowed or not allowed:
        return 0.5 if check.kept else -0.5
    room = math.log10(allowed / error) if error else _DECADES
    room = max(-_DECADES, min(_DECADES, room))
    return abs(room) if check.kept else -abs(room)
