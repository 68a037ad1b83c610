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
    from kinsight_train import pocket as parts
    from kinsight_train.detector.training import evaluate

    click.echo(evaluate(parts.train_detector(_shop(work, workers, threads)), 7, 300))


@cli.command(name="embedder", epilog="Example: kinsight-train embedder --threads 1")
@_options
def train_embedder(work: Path, workers: int, threads: int | None) -> None:
    """Train the pair of picture and text embedder."""
    from kinsight_train import pocket as parts
    from kinsight_train.embedder.training import evaluate

    click.echo(evaluate(parts.train_embedder(_shop(work, workers, threads)), 7).line())


@cli.command(name="mllm", epilog="Example: kinsight-train mllm --threads 1")
@_options
def train_mllm(work: Path, workers: int, threads: int | None) -> None:
    """Train the language model that sees: vocabulary, eyes, then lessons about whom it is shown."""
    from kinsight_train import pocket as parts

    parts.train_mllm(_shop(work, workers, threads))


@cli.command(epilog="Example: kinsight-train pocket --llm-only")
@_options
@click.option("--out", type=_FOLDER, default=_OUT, show_default=True, help="Folder of the bundle.")
@click.option("--llm-only", is_flag=True, help="Detector and embedder stay those of the bundle in --out.")
def pocket(work: Path, workers: int, threads: int | None, out: Path, llm_only: bool) -> None:
    """Train what is not trained yet, export, compare and measure; replace the bundle where all lines hold."""
    import shutil

    from kinsight_train import pocket as parts
    from kinsight_train.card import write_card

    shop = _shop(work, workers, threads)
    if not llm_only:
        parts.train_detector(shop)
        parts.train_embedder(shop)
    parts.train_mllm(shop)
    seeing = parts.kept_seeing(out) if llm_only else parts.exported_seeing(shop)
    bundle, figures = parts.make_bundle(shop, seeing)
    measured = parts.measure_sight(shop)
    parts.refuse_blind(measured)
    write_card(bundle, shop.part(parts.UNQUANTISED), {**figures, **measured}, shop.report)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(bundle, out)
    shop.report(f"{out} is the new bundle")


def _shop(work: Path, workers: int, threads: int | None) -> Workshop:
    import torch

    from kinsight_train.pocket import Workshop

    if threads:
        torch.set_num_threads(threads)
    return Workshop(work, click.echo, workers)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line, by default that of this process, and leaves with its exit code."""
    enter(cli, "kinsight-train", arguments)
