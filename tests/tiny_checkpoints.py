"""Checkpoints of every type of MLLM in miniature, from the libraries' own configs; no download."""

from __future__ import annotations

import shutil
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from kinsight_export.mllm.checkpoint import KINDS, Architecture, Words, write_checkpoint
from kinsight_export.mllm.vocabulary import trained
from kinsight_train.mllm.tokenizer import train_tokenizer

LINES = [
    f"{name} is a {colour} {kind} with a {other} hat. Where is {name}? I do not know this {kind}.\n\n"
    for name in ("Lala", "Rex", "Mia")
    for colour in ("red", "blue", "green")
    for kind in ("dog", "cat", "cup")
    for other in ("white", "black")
]
_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
_VISION = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "patch_size": 8,
    "image_size": 64,
}
_QWEN_VISION = {
    "depth": 3,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_heads": 4,
    "out_hidden_size": 64,
    "patch_size": 14,
}
_GEMMA = {**_TEXT, "head_dim": 16, "query_pre_attn_scalar": 16}
_GEMMA_PICTURES = (
    {**_VISION, "vision_use_head": False},
    {"mm_tokens_per_image": 16},
    {"image_seq_length": 16, "size": {"height": 64, "width": 64}},
)
WINDOW = 32
"""Tokens that five of six layers of "gemma3_window" look back on."""
TINY: dict[str, Architecture] = {
    "idefics3": Architecture(
        "idefics3",
        {**_TEXT, "model_type": "llama", "head_dim": 16, "tie_word_embeddings": False},
        _VISION,
        {"scale_factor": 2},
        {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}},
    ),
    "gemma3": Architecture("gemma3", {**_GEMMA, "sliding_window": 512}, *_GEMMA_PICTURES),
    "gemma3_window": Architecture(
        "gemma3", {**_GEMMA, "num_hidden_layers": 6, "sliding_window": WINDOW}, *_GEMMA_PICTURES
    ),
    "gemma3_wide": Architecture(
        "gemma3", {**_GEMMA, "num_hidden_layers": 6, "sliding_window": 1024}, *_GEMMA_PICTURES
    ),
    "qwen2_5_vl": Architecture(
        "qwen2_5_vl",
        {**_TEXT, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "tie_word_embeddings": True},
        {**_QWEN_VISION, "window_size": 112, "fullatt_block_indexes": [2]},
        pictures={"min_pixels": 3136, "max_pixels": 1 << 20},
    ),
    "qwen3_vl": Architecture(
        "qwen3_vl",
        {
            **_TEXT,
            "head_dim": 16,
            "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
        },
        {**_QWEN_VISION, "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        {"tie_word_embeddings": True},
        {"size": {"shortest_edge": 8192, "longest_edge": 1 << 20}},
    ),
    "lfm2_vl": Architecture(
        "lfm2_vl",
        {
            **_TEXT,
            "layer_types": ["conv", "full_attention", "conv"],
            "block_auto_adjust_ff_dim": False,
            "block_multiple_of": 32,
        },
        {
            **{key: _VISION[key] for key in _VISION if key != "image_size"},
            "patch_size": 16,
            "num_patches": 256,
            "vision_use_head": False,
        },
        {"projector_hidden_size": 96, "downsample_factor": 2},
        {"encoder_patch_size": 16, "downsample_factor": 2},
    ),
}
"""By transformers' model type; and Gemma 3 with a window that prompts leave, and the same without."""


def tiny_checkpoint(kind: str, folder: Path, seed: int = 3) -> Path:
    """Writes a checkpoint of that type; about a megabyte."""
    folder.mkdir(parents=True, exist_ok=True)
    row = TINY[kind]
    controls = KINDS[row.kind].controls
    merged = row.kind == "gemma3"
    words = _merged(folder, controls) if merged else trained(LINES, 400, ("<|end|>", *controls))
    return write_checkpoint(row, words, folder, seed)


def _merged(folder: Path, controls: tuple[str, ...]) -> Words:
    """A SentencePiece vocabulary, as Gemma has it."""
    file = train_tokenizer(LINES, folder / "tokenizer.model", 320, controls)
    model = SentencePieceProcessor(model_file=str(file))
    return Words(model.GetPieceSize(), model.PieceToId, lambda out: _same(file, out / file.name))


def _same(source: Path, target: Path) -> None:
    if source != target:
        shutil.copyfile(source, target)
