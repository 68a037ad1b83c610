"""`kinsight-export shape`: a model at its real size with random weights, to measure speed and memory."""

from __future__ import annotations

from pathlib import Path

import click

from kinsight_export.cli.options import A_FILE


@click.command(epilog="Example: kinsight-export shape smolvlm-256m --out build/shapes/smolvlm-256m")
@click.argument("name", metavar="smolvlm-256m|smolvlm-500m|qwen3-vl-2b")
@click.option("--out", type=A_FILE, required=True, help="Folder of the new bundle.")
@click.option("--image-max-tokens", type=click.IntRange(1), help="What a picture may cost; else as usual.")
@click.option("--context", type=click.IntRange(256), default=2048, show_default=True, help="Tokens.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the weights.")
@click.option("--replace", is_flag=True, help="Replace a bundle that is there already.")
def shape(name: str, out: Path, image_max_tokens: int | None, context: int, seed: int, replace: bool) -> None:
    """Write a bundle whose language model has a real one's size, preprocessing and vocabulary.

    The weights are random, so that speed and memory can be measured where no weights can be had; the other
    parts are those of the built-in bundle.
    """
    from kinsight.home import open_home
    from kinsight_export.gguf_file import converter
    from kinsight_export.mllm.shapes import ShapeOrder, write_shape

    tools = converter(open_home().cache / "converter")
    order = ShapeOrder(name, out, replace, image_max_tokens, context, seed)
    written = write_shape(order, tools, click.echo)
    click.echo(f"{written.name} is written to {written.folder}; its weights are random, so expect no sense.")
