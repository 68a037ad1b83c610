"""Checkpoints without a download: a real architecture from transformers' own configs, with seeded weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig
from transformers.modeling_utils import no_init_weights

_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ 'model' if message['role'] == 'assistant' "
    "else message['role'] }}\n{{ message['content'] }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255}
_CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "rescale_factor": 1 / 255,
}


@dataclass(frozen=True)
class Kind:
    """What a type of MLLM has beside its sizes: its control tokens, its template, its pictures."""

    architecture: str
    controls: tuple[str, ...]  # those that mtmd writes around pictures, and those of the template
    image_token: str  # stands for one row of a picture's embeddings
    template: str
    end: str
    processor: str  # class name of the image processor
    pictures: Mapping[str, Any]  # of preprocessor_config.json
    tokenizer: str = "PreTrainedTokenizerFast"
    begin: str | None = None
    text_architecture: str | None = None  # None: that of the whole
    ids: Mapping[str, str] = field(default_factory=dict)  # key of config.json -> control token
    names: Mapping[str, str] = field(default_factory=dict)  # by which transformers' processor finds them


def _grid(form: str, rows: int, columns: int) -> tuple[str, ...]:
    return tuple(form.format(row, column) for row in range(1, rows + 1) for column in range(1, columns + 1))


_QWEN = Kind(
    architecture="Qwen2_5_VLForConditionalGeneration",
    controls=("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
    image_token="<|image_pad|>",
    template=_CHATML,
    end="<|im_end|>",
    processor="Qwen2VLImageProcessor",
    pictures={**_CLIP, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2},
    ids={"image_token_id": "<|image_pad|>", "vision_start_token_id": "<|vision_start|>"},
)
KINDS: dict[str, Kind] = {
    "idefics3": Kind(
        architecture="Idefics3ForConditionalGeneration",
        controls=(
            *("<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"),
            *_grid("<row_{}_col_{}>", 6, 6),
        ),
        image_token="<image>",
        template=_IDEFICS,
        text_architecture="VLlama3ForCausalLM",
        end="<end_of_utterance>",
        processor="Idefics3ImageProcessor",
        pictures=_HALVES,
        ids={"image_token_id": "<image>"},
    ),
    "gemma3": Kind(
        architecture="Gemma3ForConditionalGeneration",
        controls=(
            *("<start_of_turn>", "<end_of_turn>"),
            *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
        ),
        image_token="<image_soft_token>",
        template=_GEMMA,
        tokenizer="GemmaTokenizer",
        begin="<bos>",
        end="<end_of_turn>",
        processor="Gemma3ImageProcessor",
        pictures=_HALVES,
        ids={
            "image_token_index": "<image_soft_token>",
            "boi_token_index": "<start_of_image>",
            "eoi_token_index": "<end_of_image>",
        },
        names={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    ),
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": Kind(
        architecture="Qwen3VLForConditionalGeneration",
        controls=_QWEN.controls,
        image_token=_QWEN.image_token,
        template=_CHATML,
        end=_QWEN.end,
        processor="Qwen2VLImageProcessorFast",
        pictures={**_HALVES, "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2},
        ids={**_QWEN.ids, "vision_end_token_id": "<|vision_end|>"},
    ),
    "lfm2_vl": Kind(
        architecture="Lfm2VlForConditionalGeneration",
        text_architecture="Lfm2ForCausalLM",
        controls=(
            *(
                "<|im_start|>",
                "<|im_end|>",
                "<|image_start|>",
                "<|image_end|>",
                "<|img_thumbnail|>",
                "<image>",
            ),
            *_grid("<|img_row_{}_col_{}|>", 5, 5),
        ),
        image_token="<image>",
        template=_CHATML,
        end="<|im_end|>",
        processor="Lfm2VlImageProcessorFast",
        pictures=_HALVES,
        ids={"image_token_id": "<image>"},
        names={
            "image_token": "<image>",
            "image_start_token": "<|image_start|>",
            "image_end_token": "<|image_end|>",
            "image_thumbnail": "<|img_thumbnail|>",
        },
    ),
}
"""By transformers' model type."""


@dataclass(frozen=True)
class Words:
    """A vocabulary: how to write it into a checkpoint, and the number of each control token."""

    size: int  # rows of the embedding, at least as many as there are pieces
    numbers: Callable[[str], int]
    save: Callable[[Path], None]


@dataclass(frozen=True)
class Architecture:
    """A model at certain sizes, in the words of transformers' configs."""

    kind: str  # a key of KINDS
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    top: Mapping[str, Any] = field(default_factory=dict)  # config.json's own keys, e.g. scale_factor
    pictures: Mapping[str, Any] = field(default_factory=dict)  # of preprocessor_config.json


def write_checkpoint(
    architecture: Architecture, words: Words, folder: Path, seed: int, dtype: torch.dtype = torch.float32
) -> Path:
    """A checkpoint folder with random weights of unit scale, as transformers and the converter read it."""
    kind = KINDS[architecture.kind]
    net = network(architecture, words, dtype)
    net.tie_weights()
    initialise(net, seed)
    folder.mkdir(parents=True, exist_ok=True)
    net.save_pretrained(folder)
    words.save(folder)
    _write(folder / "config.json", _whole(net.config, architecture.kind, kind, folder))
    pictures = {"image_processor_type": kind.processor, **kind.pictures, **architecture.pictures}
    marks: dict[str, Any] = {"eos_token": kind.end, **({"bos_token": kind.begin} if kind.begin else {})}
    marks |= {"additional_special_tokens": list(kind.controls), "extra_special_tokens": dict(kind.names)}
    tokenizer = {"tokenizer_class": kind.tokenizer, **marks, "chat_template": kind.template}
    _write(folder / "preprocessor_config.json", pictures)
    _write(folder / "tokenizer_config.json", tokenizer)
    if counted := _tokens_of_a_picture(architecture.kind, net.config):
        _write(folder / "processor_config.json", counted)
    return folder


def _tokens_of_a_picture(kind: str, config: Any) -> dict[str, int]:
    """As the processor of a type whose pictures are all of one size asks for it."""
    if kind == "idefics3":
        side = config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor
        return {"image_seq_len": side**2}
    return {"image_seq_length": config.mm_tokens_per_image} if kind == "gemma3" else {}


def network(architecture: Architecture, words: Words, dtype: torch.dtype = torch.float32) -> Any:
    """transformers' model of that architecture; its weights are whatever lay in memory."""
    config = _config(architecture, KINDS[architecture.kind], words)
    with no_init_weights():
        return AutoModelForImageTextToText.from_config(config, dtype=dtype)


def _whole(config: PretrainedConfig, name: str, kind: Kind, folder: Path) -> dict[str, Any]:
    """config.json with what transformers leaves out: its defaults, where llama.cpp has others, and names."""
    written = json.loads((folder / "config.json").read_text("utf-8"))
    whole = {**config.to_dict(), **written, "model_type": name, "architectures": [kind.architecture]}
    for key, architecture in (("text_config", kind.text_architecture), ("vision_config", None)):
        table = {**getattr(config, key).to_dict(), **written[key]}
        whole[key] = {**table, "architectures": [architecture] if architecture else None}
    return whole


def initialise(net: nn.Module, seed: int) -> None:
    """Unit scale at every layer from a seed, so that every layer and every picture moves the logits.

    transformers leaves some at zero (Gemma's projector) and most so small that a picture hardly counts.
    """
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if weight.ndim == 1:
                is_gain = name.endswith("weight") and not _is_offset(net, name)
                weight.fill_(1.0 if is_gain else 0.0)
            elif "position_embedding" in name or "pos_embed" in name:
                weight.normal_(std=0.1, generator=draw)
            elif "embed_tokens" in name or "lm_head" in name:
                weight.normal_(std=weight.shape[1] ** -0.5, generator=draw)
            elif "mm_input_projection" in name:
                weight.normal_(std=weight.shape[0] ** -0.5, generator=draw)
            else:
                weight.normal_(std=weight[0].numel() ** -0.5, generator=draw)


def _is_offset(net: nn.Module, name: str) -> bool:
    """Whether a norm multiplies by 1 + weight, as Gemma's do."""
    return type(net.get_submodule(name.rpartition(".")[0])).__name__ == "Gemma3RMSNorm"


def _config(architecture: Architecture, kind: Kind, words: Words) -> PretrainedConfig:
    end = words.numbers(kind.end)
    marks = {"eos_token_id": end, "pad_token_id": end}
    marks["bos_token_id"] = words.numbers(kind.begin) if kind.begin else end
    text = {**architecture.text, "vocab_size": words.size, **marks}
    ids = {key: words.numbers(piece) for key, piece in kind.ids.items()}
    return AutoConfig.for_model(
        architecture.kind,
        text_config=text,
        vision_config=dict(architecture.vision),
        **{**architecture.top, **ids, **marks},
    )


def _write(file: Path, table: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(table, indent=2) + "\n", "utf-8")
