"""Embedders of transformers: CLIP and SigLIP pairs, DINOv2 for pictures alone, from a checkpoint's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinsight.errors import ModelError
from kinsight_export.sources.kinds import EmbedderSource, TextSource
from kinsight_export.sources.processor import checkpoint_type, loaded, read_rule
from kinsight_export.sources.tokenizer import open_tokenizer

PAIRS = ("clip", "siglip", "chinese_clip", "altclip")
ALONE = ("dinov2", "dinov2_with_registers", "clip_vision_model", "siglip_vision_model")


def open_embedder(
    folder: Path, size_wh: tuple[int, int] | None, licence: str, stretch: bool
) -> EmbedderSource:
    """A checkpoint's embedder. ConfigError for its folder, ModelError where it cannot be used."""
    from transformers import AutoModel

    kind = checkpoint_type(folder)
    if kind not in (*PAIRS, *ALONE):
        raise ModelError(
            f"{folder} holds a model of the type {kind or 'nothing'}, no embedder that is known here",
            f"use one of {', '.join((*PAIRS, *ALONE))}, or pass towers that you exported to "
            "`kinsight-export bundle`",
        )
    rule, prepare = read_rule(folder, size_wh, stretch)
    model = loaded(folder, AutoModel.from_pretrained)
    image = _Tower(model, _picture_vectors if kind in PAIRS else _pooled)
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
        prepare=prepare,
        text=_text(folder, model) if kind in PAIRS else None,
    )


class _Tower(nn.Module):
    """One tower of a model, as a module of its own."""

    def __init__(self, model: nn.Module, run: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._run = run

    def forward(self, values: Tensor) -> Tensor:
        """(n, ...) -> float32 (n, dim)."""
        return self._run(self.model, values)


def _picture_vectors(model: Any, pictures: Tensor) -> Tensor:
    vectors: Tensor = model.get_image_features(pixel_values=pictures)
    return vectors


def _pooled(model: Any, pictures: Tensor) -> Tensor:
    vectors: Tensor = model(pixel_values=pictures).pooler_output
    return vectors


def _text_vectors(model: Any, ids: Tensor) -> Tensor:
    vectors: Tensor = model.get_text_features(input_ids=ids)
    return vectors


def _text(folder: Path, model: Any) -> TextSource:
    """Its mask is left out: these towers read to the end token, or padding like any other token."""
    context = int(model.config.text_config.max_position_embeddings)
    words = open_tokenizer(folder)

    def tokenise(texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        encoded = words.own(list(texts), padding="max_length", truncation=True, max_length=context)
        return {"input_ids": np.asarray(encoded["input_ids"], np.int64)}

    return TextSource(_Tower(model, _text_vectors), ("input_ids",), context, tokenise, words.save)
