"""`kinsight-export quantise`: detector and towers of a bundle in fewer bits, where that loses nobody."""

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
    "--part": {
        "type": click.Choice(["detector", "embedder", "text"]),
        "help": "Only this one; else all: detector, embedder (of pictures), its text tower.",
    },
    "--max-changes": {
        "type": click.IntRange(0),
        "help": "Photos that may be nearest to another, crops that other words may fit best; else 1.",
    },
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
    """Make smaller and faster what BUNDLE_FOLDER sees and reads with, if it sees the same on PHOTOS.

    PHOTOS is a folder with a folder of photos for each person, pet or thing. Candidates are made, judged on
    the photos and timed beside what is there; the fastest one within the limits takes its place, and one that
    is slower or worse is refused with its figures.
    """
    quantised(bundle_folder, photos, context.ensure_object(Wish))


def quantised(bundle_folder: Path, photos: Path, wish: Wish) -> None:
    """Chooses for each part in turn and rewrites the bundle where something else than what is there won."""
    from kinsight.bundle import check_hashes, read_bundle
    from kinsight_export.gate.choice import plot_choice, print_choice
    from kinsight_export.parts import rewrite, spec_of
    from kinsight_export.quantise import Eyes, Limits, choose_detector, choose_embedder, choose_text

    limits = Limits(wish.max_changes, wish.least_cosine, wish.least_boxes, wish.thorough)
    ways = {"detector": choose_detector, "embedder": choose_embedder, "text": choose_text}
    bundle = read_bundle(bundle_folder)
    eyes: Eyes | None = None  # what was seen is seen once, as long as it is the same that sees
    parts = [wish.part] if wish.part else [part for part in ways if part != "text" or bundle.embedder.text]
    for part in parts:
        check_hashes(bundle)
        eyes = eyes or Eyes.of(bundle, photos, progress)
        with TemporaryDirectory(prefix="kinsight-quantise-") as scratch:
            choice = ways[part](eyes, limits, Path(scratch))
            print_choice(choice)
            if wish.plot:
                plot_choice(choice, wish.plot.with_stem(f"{wish.plot.stem}-{part}"))
            bundle = rewrite(_with(spec_of(bundle_folder), choice, part), bundle.folder)
        eyes = eyes if choice.kept else None
        click.echo(_outcome(choice, part, bundle_folder))


def _with(spec: BundleSpec, choice: Choice, part: str) -> BundleSpec:
    """The bundle with what was chosen and all figures; an embedder in other bits has another id.

    Vectors of texts are stored nowhere, so another text tower leaves the id as it is.
    """
    (file,) = choice.chosen.files
    spec = replace(spec, parity={**spec.parity, f"{part}_candidates": choice.table()})
    if choice.kept:
        return spec
    if part == "detector":
        return replace(spec, detector=replace(spec.detector, file=file))
    if part == "text":
        text = replace(spec.embedder.text, file=file) if spec.embedder.text else None
        return replace(spec, embedder=replace(spec.embedder, text=text))
    name = f"{spec.embedder.id}-{'-'.join(choice.chosen.name.replace(',', '').split())}"
    return replace(spec, embedder=replace(spec.embedder, image=file, id=name))


_CALLED = {"text": "text tower"}


def _outcome(choice: Choice, part: str, folder: Path) -> str:
    first, chosen, called = choice.verdicts[0][0], choice.chosen, _CALLED.get(part, part)
    if choice.kept:
        return f"The {called} stays as it is: nothing is faster and as good."
    shares = f"{chosen.milliseconds / first.milliseconds:.2f} of the time, {chosen.megabytes:.1f} MB"
    said = f"The {called} is now {chosen.name}: {shares} instead of {first.megabytes:.1f} MB."
    if part == "embedder":
        said += f" Its vectors are others: run kinsight-export calibrate {folder} PHOTOS."
    return said
