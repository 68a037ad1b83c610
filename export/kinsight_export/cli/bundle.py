"""`kinsight-export bundle`: a checked bundle from parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kinsight_export.cli.options import A_FILE

_SHARE = click.FloatRange(0, 1)
_TOKENS = click.IntRange(1)
_BUNDLE_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--out",), {"type": A_FILE, "required": True, "help": "Folder of the new bundle."}),
    (("--name",), {"help": "Its name; else that of the folder."}),
    (("--version",), {"default": "1", "show_default": True}),
    (("--world",), {"default": "photos", "show_default": True, "help": "photos | drawn."}),
    (("--licence",), {"help": "Of the strictest part; else those of the parts, or Apache-2.0."}),
    (("--replace",), {"is_flag": True, "help": "Replace a bundle that is there already."}),
    (("--detector",), {"type": A_FILE, "required": True, "help": "ONNX file, or a part's folder."}),
    (("--head",), {"help": "yolox | yolov8 | end2end | detr."}),
    (("--labels",), {"type": A_FILE, "help": "Text file, one label a line."}),
    (("--score-threshold",), {"type": _SHARE, "default": 0.1, "show_default": True}),
    (("--iou-threshold",), {"type": _SHARE, "default": 0.5, "show_default": True}),
    (("--detector-set",), {"multiple": True, "metavar": "KEY=VALUE", "help": "A preprocessing key."}),
    (("--embedder",), {"type": A_FILE, "help": "A part's folder, in place of what follows."}),
    (("--embedder-image",), {"type": A_FILE, "help": "ONNX file of the image tower."}),
    (("--embedder-family",), {"default": "clip", "show_default": True, "help": "clip | imagenet | siglip."}),
    (("--embedder-set",), {"multiple": True, "metavar": "KEY=VALUE", "help": "A preprocessing key."}),
    (("--embedder-id",), {"help": "Stored with every vector; else the image tower's file name."}),
    (("--embedder-text",), {"type": A_FILE, "help": "ONNX file of the text tower."}),
    (("--tokenizer",), {"type": A_FILE, "help": "tokenizer.json of the text tower."}),
    (("--text-context",), {"type": _TOKENS, "default": 77, "show_default": True, "help": "Tokens."}),
    (("--face-detector",), {"type": A_FILE, "help": "ONNX file that finds faces, of YuNet's shape."}),
    (("--face-embedder",), {"type": A_FILE, "help": "ONNX file that tells faces apart, of SFace's shape."}),
    (("--face-threshold",), {"type": _SHARE, "default": 0.9, "show_default": True, "help": "Of a face."}),
    (("--face-licence",), {"help": "Of both; else the bundle's own holds."}),
    (("--llm",), {"type": A_FILE, "help": "GGUF file or a part's folder; without it no ask, chat, caption."}),
    (("--mmproj",), {"type": A_FILE, "help": "GGUF file of the picture encoder."}),
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


@click.command(
    epilog="Example: kinsight-export bundle --detector my-detector --embedder my-embedder --out my-bundle; "
    "or from files: kinsight-export bundle --detector yolox_nano.onnx --head yolox --labels coco.txt "
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
    if written.faces:
        click.echo("When two faces are one person's is an estimate: what OpenCV says of SFace.")
