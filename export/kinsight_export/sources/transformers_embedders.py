"""Embedders of transformers: CLIP and SigLIP pairs, DINOv2 for pictures alone, from a checkpoint's folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinsight.errors import ModelError
from kinsight_export.sources.kinds import EmbedderSource, TextSource
from kinsight_export.sources.processor import checkpoint_type, read_rule
from kinsight_export.sources.tokenizer import open_tokenizer
from kinsight_export.sources.towers import CONFIGS, export_tower
from kinsight_export.sources.weights import load_whole


def open_embedder(
    folder: Path, size_wh: tuple[int, int] | None, licence: str, stretch: bool
) -> EmbedderSource:
    """A checkpoint's embedder. ConfigError for its folder, ModelError where it cannot be used."""
    from transformers import AutoModel

    kind = checkpoint_type(folder)
    if kind not in CONFIGS:
        raise ModelError(
            f"{folder} holds a model of the type {kind or 'nothing'}, no embedder that is known here",
            f"use one of {', '.join(CONFIGS)}, or pass towers that you exported to `kinsight-export bundle`",
        )
    rule, prepare = read_rule(folder, size_wh, stretch)
    model = load_whole(folder, partial(AutoModel.from_pretrained, attn_implementation="eager")).float()
    of_pictures, of_words = CONFIGS[kind]
    image = _Pictures(model, is_pair=bool(of_words))
    width, height = rule.size_wh
    with torch.no_grad():
        try:
            dim = int(image(torch.zeros(1, 3, height, width)).shape[1])
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{folder} does not take pictures of {width} x {height} ({error})", "pass another --size"
            ) from None
    return EmbedderSource(
        name=f"{folder.name}, a {kind} of transformers",
        id=folder.resolve().name,
        licence=licence,
        dim=dim,
        rule=rule,
        image=image,
        write=partial(export_tower, image, of_pictures, size_wh=rule.size_wh),
        prepare=prepare,
        text=_text(folder, model, of_words) if of_words else None,
    )


class _Pictures(nn.Module):
    """The tower of pictures, as a module of its own."""

    input_name, output_name = "pixel_values", "image_embeds"

    def __init__(self, model: Any, is_pair: bool) -> None:
        super().__init__()
        self.model = model
        self.config = model.config.vision_config if is_pair else model.config
        self.is_pair = is_pair

    def forward(self, pixel_values: Tensor) -> Tensor:
        """float32 (n, 3, h, w) -> float32 (n, dim)."""
        if self.is_pair:
            features: Tensor = self.model.get_image_features(pixel_values=pixel_values)
            return features
        pooled: Tensor = self.model(pixel_values=pixel_values).pooler_output
        return pooled


class _Words(nn.Module):
    """The tower of words, as a module of its own."""

    input_name, output_name = "input_ids", "text_embeds"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.config = model.config.text_config

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 (n, context) -> float32 (n, dim)."""
        features: Tensor = self.model.get_text_features(input_ids=input_ids)
        return features


def _text(folder: Path, model: Any, config_class: str) -> TextSource:
    """Its mask is left out: these towers read to the end token, or padding like any other token."""
    context = int(model.config.text_config.max_position_embeddings)
    words, tower = open_tokenizer(folder), _Words(model)
    write = partial(export_tower, tower, config_class, context=context)
    return TextSource(tower, write, context, partial(words.ids, context=context), words.save)
