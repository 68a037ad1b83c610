"""Shape bundles: a real architecture at its real size, preprocessing and vocabulary, with seeded weights."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinsight.bundle import Bundle, pocket_folder, read_bundle
from kinsight.errors import BundleError, ConfigError
from kinsight_export.gguf_file import Kind, OutType, quantise, to_pair
from kinsight_export.mllm.checkpoint import KINDS, Architecture, write_checkpoint
from kinsight_export.mllm.order import ShapeOrder
from kinsight_export.mllm.vocabulary import PRETOKENIZER, smollm2
from kinsight_export.parts import BundleSpec, LlmSpec, parts_of, write_bundle

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shape:
    """One row: a model that can be measured without its weights."""

    architecture: Architecture
    vocabulary: int  # rows of the embedding
    dtype: str  # of the weights while they are made
    llm: Kind  # as the catalogue's bundles have it
    mmproj: OutType
    image_max_tokens: int
    stop: tuple[str, ...]


_SIGLIP_512: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "image_size": 512,
    "patch_size": 16,
}
_LLAMA: Mapping[str, Any] = {
    "model_type": "llama",
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "rope_theta": 100_000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}


def _smolvlm(text: Mapping[str, Any]) -> Shape:
    """64 tokens a tile of 512 pixels, the longer side at 2048 pixels: 17 tiles of any square picture."""
    pictures = {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}}
    architecture = Architecture("idefics3", {**_LLAMA, **text}, _SIGLIP_512, {"scale_factor": 4}, pictures)
    return Shape(architecture, 49_280, "float32", "Q8_0", "q8_0", 64, ("<end_of_utterance>",))


SHAPES: dict[str, Shape] = {
    "smolvlm-256m": _smolvlm(
        {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
        }
    ),
    "smolvlm-500m": _smolvlm(
        {
            "hidden_size": 960,
            "intermediate_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
        }
    ),
    "qwen3-vl-2b": Shape(
        Architecture(
            "qwen3_vl",
            {
                "hidden_size": 2048,
                "intermediate_size": 6144,
                "num_hidden_layers": 28,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "max_position_embeddings": 262_144,
                "rope_theta": 5_000_000.0,
                "rms_norm_eps": 1e-6,
                "tie_word_embeddings": True,
                "rope_scaling": {
                    "rope_type": "default",
                    "mrope_section": [24, 20, 20],
                    "mrope_interleaved": True,
                },
            },
            {
                "depth": 24,
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_heads": 16,
                "out_hidden_size": 2048,
                "patch_size": 16,
                "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [5, 11, 17],
            },
            {"tie_word_embeddings": True},
            {"size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}},
        ),
        151_936,
        "bfloat16",
        "Q4_K_M",
        "f16",
        256,
        ("<|im_end|>",),
    ),
}


def write_shape(order: ShapeOrder, tools: Callable[[], Path], say: Say) -> Bundle:
    """A bundle with the shape as its language model and pocket's other parts; `tools` is the converter.

    ConfigError for a name that is no row, ModelError where it cannot be made, BundleError where the folder is
    taken or pocket is absent.
    """
    import torch

    if order.name not in SHAPES:
        raise ConfigError(f"there is no shape {order.name!r}", f"choose one of {', '.join(SHAPES)}")
    shape = SHAPES[order.name]
    pocket = pocket_folder()
    if pocket is None:
        raise BundleError("a shape takes the other parts of pocket, which is absent", "install kinsight anew")
    if order.checkpoint and order.checkpoint.exists():
        raise ConfigError(f"{order.checkpoint} is there already", "name a folder that is not there yet")
    order.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=order.out.parent, prefix=f".{order.name}.") as scratch:
        folder = Path(scratch)
        kept = order.checkpoint or folder / "checkpoint"
        say("drawing weights ...")
        words = smollm2(KINDS[shape.architecture.kind].controls, shape.vocabulary, order.vocabulary)
        dtype = getattr(torch, shape.dtype)
        checkpoint = write_checkpoint(shape.architecture, words, kept, order.seed, dtype)
        say("converting ...")
        whole, mmproj = folder / "whole.gguf", folder / "mmproj.gguf"
        to_pair(checkpoint, {shape.mmproj: mmproj}, whole, tools(), PRETOKENIZER)
        if order.checkpoint is None:
            shutil.rmtree(checkpoint)
        say(f"quantising to {shape.llm} ...")
        llm = quantise(whole, folder / "llm.gguf", shape.llm)
        whole.unlink()
        return write_bundle(_spec(order, shape, read_bundle(pocket), (llm, mmproj)), order.out, order.replace)


def _spec(order: ShapeOrder, shape: Shape, pocket: Bundle, files: tuple[Path, Path]) -> BundleSpec:
    llm, mmproj = files
    detector, embedder = parts_of(pocket)
    part = LlmSpec(
        file=llm,
        sees="photo+references",
        context=order.context,
        max_references=3,
        stop=shape.stop,
        smoke="None: its weights are drawn from a seed, so no answer can be right.",
        mmproj=mmproj,
        image_max_tokens=order.image_max_tokens or shape.image_max_tokens,
    )
    name = f"{order.name}-shape"
    return BundleSpec(name, "1", "drawn", "Apache-2.0", detector, embedder, part)
