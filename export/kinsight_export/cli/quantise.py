"""`kinsight-export quantise`: detector and embedder of a bundle in fewer bits, where that loses nobody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import into, progress
from kinsight_export.cli.options import A_FILE

if TYPE_CHECKING:
    from kinsight_export.gate.choice import Choice
    from kinsight_export.parts import BundleSpec


@dataclass
class Wish:
    """The options of this verb."""

    part: str | None = None
    max_changes: int = 1
    least_cosine: float = 0.95
    least_boxes: float = 0.8
    thorough: bool = False
    plot: Path | None = None


_SHARE = click.FloatRange(0, 1)
_ROWS: dict[str, dict[str, Any]] = {
    "--part": {"type": click.Choice(["detector", "embedder"]), "help": "Only this one; else both."},
    "--max-changes": {"type": click.IntRange(0), "help": "Photos that may be nearest to another; else 1."},
    "--least-cosine": {"type": _SHARE, "help": "Of a vector to that in float32; else 0.95."},
    "--least-boxes": {"type": _SHARE, "help": "Share of boxes found again at an IoU of .5; else 0.8."},
    "--thorough": {
        "is_flag": True,
        "help": "Count changes of what is refused already, too; takes several times as long.",
    },
    "--plot": {"type": A_FILE, "help": "Draw the candidates as a .png picture each."},
}


@click.command(
    params=[
        click.Option([name], expose_value=False, callback=into(Wish), **row) for name, row in _ROWS.items()
    ],
    epilog="Example: kinsight-export quantise my-bundle photos-with-a-folder-per-identity",
)
@click.argument("bundle_folder", type=A_FILE)
@click.argument("photos", type=A_FILE)
@click.pass_context
def quantise(context: click.Context, bundle_folder: Path, photos: Path) -> None:
    """Make smaller and faster what BUNDLE_FOLDER sees with, if PHOTOS of known identities are seen the same.

    Candidates are made, judged on the photos and timed beside what is there; the fastest one within the
    limits takes its place, and one that is slower or worse is refused with its figures.
    """
    quantised(bundle_folder, photos, context.ensure_object(Wish))


def quantised(bundle_folder: Path, photos: Path, wish: Wish) -> None:
    """Chooses for each part in turn and rewrites the bundle where something else than float32 won."""
    from kinsight.bundle import check_hashes, read_bundle
    from kinsight_export.gate.choice import plot_choice, print_choice
    from kinsight_export.parts import rewrite, spec_of
    from kinsight_export.quantise import Eyes, Limits, choose_detector, choose_embedder

    limits = Limits(wish.max_changes, wish.least_cosine, wish.least_boxes, wish.thorough)
    ways = {"detector": choose_detector, "embedder": choose_embedder}
    for part in [wish.part] if wish.part else ways:
        bundle = read_bundle(bundle_folder)
        check_hashes(bundle)
        with TemporaryDirectory(prefix="kinsight-quantise-") as scratch:
            choice = ways[part](Eyes.of(bundle, photos, progress), limits, Path(scratch))
            print_choice(choice)
            if wish.plot:
                plot_choice(choice, wish.plot.with_stem(f"{wish.plot.stem}-{part}"))
            rewrite(_with(spec_of(bundle_folder), choice, part), bundle.folder)
        click.echo(_outcome(choice, part, bundle_folder))


def _with(spec: BundleSpec, choice: Choice, part: str) -> BundleSpec:
    """The bundle with what was chosen and all figures; an embedder in other bits has another id."""
    from kinsight_export.quantise.choosing import AS_IT_IS

    (file,) = choice.chosen.files
    spec = replace(spec, parity={**spec.parity, f"{part}_candidates": choice.table()})
    if choice.chosen.name == AS_IT_IS:
        return spec
    if part == "detector":
        return replace(spec, detector=replace(spec.detector, file=file))
    name = f"{spec.embedder.id}-{'-'.join(choice.chosen.name.replace(',', '').split())}"
    return replace(spec, embedder=replace(spec.embedder, image=file, id=name))


def _outcome(choice: Choice, part: str, folder: Path) -> str:
    first, chosen = choice.verdicts[0][0], choice.chosen
    if chosen is first:
        return f"The {part} stays as it is: nothing is faster and as good."
    shares = f"{chosen.milliseconds / first.milliseconds:.2f} of the time, {chosen.megabytes:.1f} MB"
    said = f"The {part} is now {chosen.name}: {shares} instead of {first.megabytes:.1f} MB."
    if part == "embedder":
        said += f" Its vectors are others: run kinsight-export calibrate {folder} PHOTOS."
    return said
