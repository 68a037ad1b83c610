"""`kinsight-export mllm`: a multimodal language model as a part, from a checkpoint or a GGUF pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight_export.cli.options import A_FILE, finish, verb_options
from kinsight_export.mllm.order import MAX_LOSS, MllmOrder

if TYPE_CHECKING:
    from kinsight_export.mllm.making import Made

_KINDS = click.Choice(["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0"])
_LOSS = click.FloatRange(0, min_open=True)
_TOKENS = click.IntRange(1)
_ROWS: dict[str, Mapping[str, Any]] = {
    "--gguf": {"type": A_FILE, "help": "A GGUF file that is there already."},
    "--mmproj": {"type": A_FILE, "help": "Its picture encoder."},
    "--adapter": {"type": A_FILE, "help": "Folder of a LoRA adapter, which is merged."},
    "--adapter-gguf": {
        "type": A_FILE,
        "help": "Write the adapter as a file of its own as well, and judge it.",
    },
    "--quantise": {"type": _KINDS, "multiple": True, "help": "Candidates beside f16; else Q8_0 and Q4_K_M."},
    "--max-loss": {"type": _LOSS, "help": f"Mean KL that a candidate may have, nats; else {MAX_LOSS}."},
    "--pretokenizer": {"help": "Of a vocabulary that llama.cpp does not know: qwen2, lfm2, ..."},
    "--device": {"help": "Name or .toml file of the device config for which it is made."},
    "--threads": {"type": _TOKENS, "help": "Of this machine; else one per physical core."},
    "--context": {"type": _TOKENS, "help": "Tokens; else 2048."},
    "--image-max-tokens": {"type": _TOKENS, "help": "What a picture may cost; else by model and device."},
}
_OPTIONS = verb_options(MllmOrder, _ROWS)


@click.command(
    params=_OPTIONS,
    epilog="Examples: kinsight-export mllm SmolVLM-256M-Instruct --device raspberry-pi-5 --out my-llm; "
    "kinsight-export mllm --gguf model.gguf --mmproj mmproj.gguf --out my-llm",
)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.pass_context
def mllm(context: click.Context, checkpoint: Path | None) -> None:
    """Turn CHECKPOINT into a language model for a bundle, and prove that it says the same.

    CHECKPOINT is a folder of transformers: SmolVLM, Gemma 3, Qwen2.5-VL, Qwen3-VL or LFM2-VL. It becomes
    GGUF, is compared with its source on pictures and texts, and quantised: the fastest candidate within
    the loss wins. With --gguf and --mmproj a pair is taken over, and compared with CHECKPOINT if given.
    """
    from kinsight.config import load_device
    from kinsight.home import open_home
    from kinsight_export.gate.pictures import pictures_of
    from kinsight_export.gguf_file import converter
    from kinsight_export.sources import need_libraries

    need_libraries()
    from kinsight_export.mllm.making import Workshop, make_mllm
    from kinsight_export.trial import WORKSTATION

    order = context.ensure_object(MllmOrder)
    order.checkpoint = checkpoint
    shop = Workshop(
        lambda: converter(open_home().cache / "converter"),
        replace(WORKSTATION, threads=order.threads),
        load_device(order.device),
        pictures_of(order.photos)[0],
        click.echo,
    )
    _show(make_mllm(order, shop), order.plot)


def _show(made: Made, plot: Path | None) -> None:
    """Notes, tables and pictures; ParityError where the gate refused it."""
    from kinsight_export.gate.choice import plot_choice, print_choice

    for note in made.notes:
        click.echo(note)
    for choice in made.choices:
        print_choice(choice)
        if plot:
            plot_choice(choice, plot.with_stem(f"{plot.stem}-{choice.chosen.report.part}"))
    finish(made.reports, plot)
    if made.part:
        click.echo(f"The part is in {made.part.folder}; kinsight-export bundle --llm takes it.")
