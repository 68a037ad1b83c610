"""Turns crops and texts into unit vectors that can be compared: the two towers of a CLIP-type pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinsight.bundle import EmbedderPart, TextTower
from kinsight.config import DeviceConfig
from kinsight.errors import ModelError
from kinsight.image import crop, prepare_batch
from kinsight.session import Session, Shape
from kinsight.types import Floats, Photo, Pixels, Regions

_BATCH = 32
"""Pictures that are embedded at once: more than a photo has regions, few enough for a small memory."""


class Embedder:
    """An embedder that is loaded and ready; the text tower is loaded at its first use."""

    def __init__(self, part: EmbedderPart, device: DeviceConfig) -> None:
        """Raises ModelError where a file does not load or gives another dimension than the bundle says."""
        self.part = part
        self._device = device
        self.session = Session(part.image.file, device)
        self._input = next(iter(self.session.inputs))
        self._check_dim(next(iter(self.session.outputs.values())), part.image.file.name)
        self._one_by_one = self.session.inputs[self._input][0] == 1
        self._text: _Text | None = None

    def images(self, pictures: Sequence[Pixels]) -> Floats:
        """m pictures, each uint8 (h, w, 3) RGB -> float32 (m, dim), unit length, in one batch."""
        if not pictures:
            return np.zeros((0, self.part.dim), np.float32)
        return _unit(np.concatenate([self._run(feeds) for feeds in self.feeds(pictures)]))

    def feeds(self, pictures: Sequence[Pixels]) -> list[dict[str, Floats]]:
        """What the session is fed for these pictures: one batch, or batches of one where it takes no more."""
        batch = prepare_batch(list(pictures), self.part.image.preprocess)
        size = 1 if self._one_by_one else len(batch)
        return [{self._input: batch[start : start + size]} for start in range(0, len(batch), size)]

    def views(self, pictures: Sequence[Pixels]) -> Floats:
        """m reference crops -> float32 (m, dim), unit length: each the mean of the crop and its mirror image.

        A thing is met from either side as often; measured on photos, this tells strangers apart better.
        """
        mirrored = [np.ascontiguousarray(pixels[:, ::-1]) for pixels in pictures]
        both = self.images([*pictures, *mirrored])
        return _unit(both[: len(pictures)] + both[len(pictures) :])

    def texts(self, texts: Sequence[str]) -> Floats:
        """m texts -> float32 (m, dim), unit length. Raises ModelError where the bundle has no text tower."""
        tower = self._words()
        if not texts:
            return np.zeros((0, self.part.dim), np.float32)
        outputs = tower.session.run(tower.feeds(texts))
        return _unit(self._checked(next(iter(outputs.values())), tower.session.file.name))

    def text_feeds(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """What the text tower is fed for these texts, each int64 (m, context); raises as `texts`."""
        return self._words().feeds(texts)

    def _words(self) -> _Text:
        if self._text is None:
            if self.part.text is None:
                raise ModelError(
                    f"the embedder {self.part.id} has no text tower", "use a bundle whose embedder is a pair"
                )
            self._text = _Text(self.part.text, self._device)
        return self._text

    def _run(self, feeds: dict[str, Floats]) -> Floats:
        outputs = self.session.run(feeds)
        return self._checked(next(iter(outputs.values())), self.part.image.file.name)

    def _checked(self, vectors: NDArray[Any], file: str) -> Floats:
        self._check_dim(vectors.shape, file)
        if not np.isfinite(vectors).all():
            raise ModelError(f"{file} gives numbers that are not finite", "export the tower again in float32")
        return vectors.astype(np.float32, copy=False)

    def _check_dim(self, shape: Shape, file: str) -> None:
        if len(shape) != 2 or shape[1] not in (self.part.dim, None):
            raise ModelError(
                f"{file} gives the shape {shape}, the bundle says dim = {self.part.dim}",
                "write the right dim into bundle.toml, or export the tower with its projection",
            )


class _Text:
    """The text tower with its tokenizer."""

    def __init__(self, tower: TextTower, device: DeviceConfig) -> None:
        from tokenizers import Tokenizer  # slow to import, and needed for texts only

        self.session = Session(tower.file, device)
        try:
            self._tokenizer = Tokenizer.from_file(str(tower.tokenizer))
        except Exception as error:  # tokenizers raises the base class itself
            raise ModelError(
                f"{tower.tokenizer.name} is no tokenizer ({error})", "restore the bundle"
            ) from error
        self._tokenizer.enable_truncation(tower.context)
        padding = self._tokenizer.padding or {}
        self._tokenizer.enable_padding(
            length=tower.context, pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "!")
        )

    def feeds(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """m texts -> ids, and the mask where the tower takes one, each int64 (m, context)."""
        encoded = self._tokenizer.encode_batch(list(texts))
        feeds: dict[str, NDArray[Any]] = {"input_ids": np.array([e.ids for e in encoded], np.int64)}
        if "attention_mask" in self.session.inputs:
            feeds["attention_mask"] = np.array([e.attention_mask for e in encoded], np.int64)
        return feeds


def embed_scene(photo: Photo, regions: Regions, embedder: Embedder) -> Floats:
    """float32 (n + 1, dim), unit length: the n regions of a photo, then the whole photo."""
    return embed_scenes([photo], [regions], embedder)[0]


def embed_scenes(photos: Sequence[Photo], regions: Sequence[Regions], embedder: Embedder) -> list[Floats]:
    """As `embed_scene` of every photo, with crops of several photos in a batch."""
    pictures = [
        picture
        for photo, boxes in zip(photos, regions, strict=True)
        for picture in (*(crop(photo.pixels, boxes.box(row)) for row in range(len(boxes))), photo.pixels)
    ]
    starts = range(0, len(pictures), _BATCH)
    vectors = np.concatenate(
        [np.zeros((0, embedder.part.dim), np.float32)]
        + [embedder.images(pictures[start : start + _BATCH]) for start in starts]
    )
    return np.split(vectors, np.cumsum([len(boxes) + 1 for boxes in regions]))[:-1]


def _unit(vectors: Floats) -> Floats:
    """Each row divided by its length; a row of zeros stays zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
