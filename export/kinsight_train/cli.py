"""The workstation's command line `kinsight-train`: trains the parts of the pocket bundle, and makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from kinsight.cli.door import enter

if TYPE_CHECKING:
    from kinsight_train.pocket import Workshop

_FOLDER = click.Path(path_type=Path, file_okay=False)
_WORK = Path("build/pocket")
_OUT = Path("models/pocket")


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """What every verb takes."""
    for option in (
        click.option("--threads", type=click.IntRange(1), help="Cores for torch; else all of them."),
        click.option(
            "--workers", type=click.IntRange(0), default=1, show_default=True, help="Drawing processes."
        ),
        click.option("--work", type=_FOLDER, default=_WORK, show_default=True, help="Checkpoints lie here."),
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Train the pocket bundle on drawn scenes; every training goes on where it was stopped."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command(name="detector", epilog="Example: kinsight-train detector --threads 1")
@_options
def train_detector(work: Path, workers: int, threads: int | None) -> None:
    """Train the detector."""
    from kinsight_train import detector

    shop = _shop(work, workers, threads)
    network = detector.train_detector(
        shop.part("detector"), detector.DETECTOR_SCHEDULE, shop.report, shop.workers
    )
    click.echo(detector.evaluate(network, 7, 300))


@cli.command(name="embedder", epilog="Example: kinsight-train embedder --threads 1")
@_options
def train_embedder(work: Path, workers: int, threads: int | None) -> None:
    """Train the pair of picture and text embedder."""
    from kinsight_train.embedder import training as embedder

    shop = _shop(work, workers, threads)
    pair = embedder.train_embedder(
        shop.part("embedder"), embedder.EMBEDDER_SCHEDULE, shop.report, shop.workers
    )
    click.echo(embedder.evaluate(pair, 7).line())


@cli.command(name="mllm", epilog="Example: kinsight-train mllm --threads 1")
@_options
def train_mllm(work: Path, workers: int, threads: int | None) -> None:
    """Train the language model that sees: its vocabulary, its eyes, then all of it."""
    from kinsight_train.mllm import training as mllm

    shop = _shop(work, workers, threads)
    mllm.train_mllm(shop.part("mllm"), shop.report, shop.workers)


@cli.command(epilog="Example: kinsight-train pocket --out models/pocket")
@_options
@click.option("--out", type=_FOLDER, default=_OUT, show_default=True, help="Folder of the bundle.")
def pocket(work: Path, workers: int, threads: int | None, out: Path) -> None:
    """Train what is not trained yet, export and compare everything, write the bundle and its card."""
    from kinsight_train.card import write_card
    from kinsight_train.pocket import UNQUANTISED, make_bundle, measure_parts, train_parts

    shop = _shop(work, workers, threads)
    train_parts(shop)
    figures = make_bundle(shop, out)
    write_card(out, shop.part(UNQUANTISED), {**figures, **measure_parts(shop)}, shop.report)


def _shop(work: Path, workers: int, threads: int | None) -> Workshop:
    import torch

    from kinsight_train.pocket import Workshop

    if threads:
        torch.set_num_threads(threads)
    return Workshop(work, click.echo, workers)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line, by default that of this process, and leaves with its exit code."""
    enter(cli, "kinsight-train", arguments)
