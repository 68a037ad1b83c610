"""The workstation's command line: `kinsight-export bundle` and `kinsight-export calibrate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import click

from kinsight.cli.desk import progress
from kinsight.cli.door import enter

_FILE = click.Path(path_type=Path)
_SHARE = click.FloatRange(0, 1)
_TOKENS = click.IntRange(1)
_BUNDLE_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--out",), {"type": _FILE, "required": True, "help": "Folder of the new bundle."}),
    (("--name",), {"help": "Its name; else that of the folder."}),
    (("--version",), {"default": "1", "show_default": True}),
    (("--world",), {"default": "photos", "show_default": True, "help": "photos | drawn."}),
    (("--licence",), {"default": "Apache-2.0", "show_default": True, "help": "Of the strictest part."}),
    (("--replace",), {"is_flag": True, "help": "Replace a bundle that is there already."}),
    (("--detector",), {"type": _FILE, "required": True, "help": "ONNX file."}),
    (("--head",), {"required": True, "help": "yolox | yolov8 | end2end | detr."}),
    (("--labels",), {"type": _FILE, "required": True, "help": "Text file, one label a line."}),
    (("--score-threshold",), {"type": _SHARE, "default": 0.1, "show_default": True}),
    (("--iou-threshold",), {"type": _SHARE, "default": 0.5, "show_default": True}),
    (("--detector-set",), {"multiple": True, "metavar": "KEY=VALUE", "help": "A preprocessing key."}),
    (("--embedder-image",), {"type": _FILE, "required": True, "help": "ONNX file of the image tower."}),
    (("--embedder-family",), {"default": "clip", "show_default": True, "help": "clip | imagenet | siglip."}),
    (("--embedder-set",), {"multiple": True, "metavar": "KEY=VALUE", "help": "A preprocessing key."}),
    (("--embedder-id",), {"help": "Stored with every vector; else the image tower's file name."}),
    (("--embedder-text",), {"type": _FILE, "help": "ONNX file of the text tower."}),
    (("--tokenizer",), {"type": _FILE, "help": "tokenizer.json of the text tower."}),
    (("--text-context",), {"type": _TOKENS, "default": 77, "show_default": True, "help": "Tokens."}),
    (("--llm",), {"type": _FILE, "help": "GGUF file; without it there is no ask, chat and caption."}),
    (("--mmproj",), {"type": _FILE, "help": "GGUF file of the picture encoder."}),
    (("--sees",), {"help": "photo+references | photo | nothing; else by --mmproj."}),
    (("--context",), {"type": _TOKENS, "default": 2048, "show_default": True, "help": "Tokens."}),
    (("--max-references",), {"type": click.IntRange(0), "default": 3, "show_default": True}),
    (("--image-max-tokens",), {"type": _TOKENS, "help": "Needed with --mmproj: no picture may cost more."}),
    (("--stop",), {"multiple": True, "help": "A text at which an answer ends."}),
    (("--smoke",), {"default": "A question about a named thing; the answer must contain the name."}),
)


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Keeps an option in `context.obj`: thirty options are one mapping, not thirty parameters."""
    context.ensure_object(dict)[option.name] = value


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for names, settings in reversed(_BUNDLE_OPTIONS):
        command = click.option(*names, callback=_keep, expose_value=False, **settings)(command)
    return command


@click.group(invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Turn models into bundles that kinsight runs."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command(
    epilog="Example: kinsight-export bundle --detector yolox_nano.onnx --head yolox --labels coco.txt "
    "--embedder-image clip-image.onnx --embedder-text clip-text.onnx --tokenizer tokenizer.json "
    "--llm SmolLM2-135M.gguf --out my-bundle"
)
@_options
@click.pass_context
def bundle(context: click.Context) -> None:
    """Write a checked bundle from parts: each is run once, copied and hashed."""
    from kinsight_export.parts import write_bundle
    from kinsight_export.spec import bundle_spec

    spec = bundle_spec(context.obj)
    out: Path = context.obj["out"]
    written = write_bundle(spec, out, context.obj["replace"])
    click.echo(f"{written.name} is written to {written.folder}.")
    click.echo(f"It names nobody yet: run kinsight-export calibrate {written.folder} PHOTOS.")


@cli.command(epilog="Example: kinsight-export calibrate my-bundle photos-with-a-folder-per-identity")
@click.argument("bundle_folder", type=_FILE)
@click.argument("photos", type=_FILE)
def calibrate(bundle_folder: Path, photos: Path) -> None:
    """Fit when to name somebody, from PHOTOS with a folder per identity (none that you test on later)."""
    from kinsight.bundle import check_hashes, read_bundle
    from kinsight.detect import Detector
    from kinsight.embed import Embedder
    from kinsight.evaluate import Reader, fit_on
    from kinsight_export.parts import rewrite_calibration
    from kinsight_export.trial import WORKSTATION

    found = read_bundle(bundle_folder)
    check_hashes(found)
    reader = Reader(Detector(found.detector, WORKSTATION), Embedder(found.embedder, WORKSTATION), progress)
    shots = reader.identities(photos)
    count = len({shot.identity for shot in shots})
    fitted_on = (
        f"{photos.resolve().name}, {count} identities, {len(shots)} photos, {date.today().isoformat()}"
    )
    fitted = fit_on(shots, fitted_on)
    calibration = fitted.calibration
    rewrite_calibration(bundle_folder, calibration, fitted.cohort)
    if calibration.accept_probability > calibration.curve[-1][1] - 1e-6:
        click.echo("These identities look no more alike than strangers do: it will name nobody.")
    click.echo(
        f"{found.name} accepts from probability {calibration.accept_probability:.2f} on and "
        f"says maybe from {calibration.unsure_probability:.2f}; fitted on {fitted_on}."
    )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line, by default that of this process, and leaves with its exit code."""
    enter(cli, "kinsight-export", arguments)
