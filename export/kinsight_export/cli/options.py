"""What several verbs of `kinsight-export` share: options, and how the verdict is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import into

if TYPE_CHECKING:
    from kinsight_export.gate import Report

A_FILE = click.Path(path_type=Path)
"""A file or folder; whoever uses it says what is wrong with it."""


@dataclass
class PartWish:
    """The options that all verbs for parts have."""

    out: Path = field(default_factory=Path)
    photos: Path | None = None
    size: tuple[int, int] | None = None
    licence: str | None = None
    accept: tuple[str, ...] = ()
    replace: bool = False
    plot: Path | None = None


class _Size(click.ParamType[tuple[int, int]]):
    """WIDTH,HEIGHT in pixels."""

    name = "width,height"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Two whole numbers; one stands for a square."""
        if isinstance(value, tuple):
            return value
        sides = [int(side) if side.isdigit() else 0 for side in str(value).split(",")]
        if len(sides) not in (1, 2) or min(sides) < 1 or max(sides) > 4096:
            self.fail(f"{value!r} is no size: write 640 or 640,480", param, ctx)
        return sides[0], sides[-1]


SIZE = _Size()
_SHARED: dict[str, dict[str, Any]] = {
    "--out": {"type": A_FILE, "required": True, "help": "Folder of the new part."},
    "--photos": {"type": A_FILE, "help": "Compare on photos of this folder, else on drawn scenes."},
    "--size": {"type": SIZE, "help": "Of the model's pictures, in pixels; else its own."},
    "--licence": {"help": "Of the weights, where neither card nor file states it."},
    "--accept": {
        "multiple": True,
        "metavar": "LICENCE",
        "help": "A licence that asks for more than its name.",
    },
    "--plot": {"type": A_FILE, "help": "Draw the verdict as a .png picture."},
    "--replace": {"is_flag": True, "help": "Replace what is there already."},
}


def verb_options(kind: type, own: Mapping[str, Mapping[str, Any]]) -> list[click.Parameter]:
    """The shared options that `kind` has a field for, and those of one verb; all go into one such object."""
    there = {f"--{field.name}" for field in fields(kind)}
    rows = {**{name: row for name, row in _SHARED.items() if name in there}, **own}
    return [
        click.Option(names.split(), expose_value=False, callback=into(kind), **settings)
        for names, settings in rows.items()
    ]


def finish(reports: Sequence[Report], plot: Path | None) -> None:
    """Shows what the gate found, and draws it where wanted; ParityError where a limit is broken."""
    from kinsight_export.gate.show import plot_reports, print_reports

    print_reports(reports)
    if plot:
        plot_reports(reports, plot)
    for report in reports:
        report.require()
