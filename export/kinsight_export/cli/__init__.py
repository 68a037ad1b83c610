"""The workstation's command line `kinsight-export`: a file and a row a verb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import click

from kinsight.cli.door import enter
from kinsight_export.cli import all as everything
from kinsight_export.cli import bundle, calibrate, detector, embedder, mllm, quantise, shape

VERBS: tuple[click.Command, ...] = (
    detector.detector,
    embedder.embedder,
    bundle.bundle,
    quantise.quantise,
    calibrate.calibrate,
    mllm.mllm,
    shape.shape,
    everything.all_,
)
"""One row a verb, each the command of the module of its name."""


@click.group(invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Turn models into bundles that kinsight runs."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _verb in VERBS:
    cli.add_command(_verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line, by default that of this process, and leaves with its exit code."""
    enter(cli, "kinsight-export", arguments)
