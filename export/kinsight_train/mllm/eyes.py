"""First lessons for the language model's eyes: of every patch, what thing it shows and how that looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kinsight.drawn import individual, look_alike, random_scene
from kinsight.drawn.scenes import draw_scene
from kinsight.image import crop
from kinsight.prompt import position
from kinsight.types import Floats
from kinsight_train.loop import Losses
from kinsight_train.mllm.cast import REFERENCE_WH, loose
from kinsight_train.mllm.cells import (
    Cells,
    Labels,
    Readers,
    aspects_of,
    labels,
    photo_labels,
    read_rightly,
    stacked,
)
from kinsight_train.mllm.model import Mllm, MllmShape
from kinsight_train.mllm.picture import preprocess


@dataclass(frozen=True)
class Views:
    """Pictures with what their cells show."""

    pixels: Tensor  # float32 (pictures, 3, side, side)
    cells: Cells


@dataclass(frozen=True)
class ViewBatches:
    """Step -> pictures: half of them scenes, half single views as references are."""

    seed: int
    pictures: int
    shape: MllmShape

    def __call__(self, step: int) -> Views:
        """The batch of a step."""
        drawn = [self._picture(np.random.default_rng((self.seed, step, n)), n) for n in range(self.pictures)]
        pixels = np.stack([each for each, _ in drawn])
        return Views(torch.from_numpy(pixels), stacked([told for _, told in drawn]))

    def _picture(self, rng: np.random.Generator, number: int) -> tuple[Floats, Labels]:
        side = self.shape.picture_px
        if number % 2:
            drawing = random_scene(rng)
            return preprocess(drawing.pixels, side), photo_labels(drawing, self.shape)
        one = individual(rng)
        drawing = draw_scene([look_alike(one, rng) if rng.random() < 0.5 else one], rng, REFERENCE_WH)
        thing = drawing.things[0]
        pixels = crop(drawing.pixels, loose(thing.xyxy, rng))
        height, width = pixels.shape[:2]
        whole = 0.0, 0.0, float(width), float(height)
        aspects = aspects_of(thing, position(whole, width, height), drawing.place)
        return preprocess(pixels, side), labels([aspects], [whole], (width, height), self.shape)


class Eyes(nn.Module):
    """The model's picture tower and projector, with readers of what they see."""

    def __init__(self, model: Mllm, readers: Readers) -> None:
        super().__init__()
        self.net = model.net.model.vision_tower
        self.projector = model.net.model.multi_modal_projector
        self._model = [model]  # not a child: only its eyes are trained
        self.readers = readers

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Patches float (pictures, patches, width) and picture tokens float (pictures, tokens, width)."""
        patches = self._model[0].patches(pixels)
        return patches, self._model[0].project(patches)


def loss_of(eyes: nn.Module, views: Views) -> Losses:
    """What the readers get wrong."""
    if not isinstance(eyes, Eyes):
        raise TypeError("this is the loss of Eyes")
    device = next(eyes.parameters()).device
    patches, tokens = eyes(views.pixels.to(device))
    return eyes.readers.losses(patches, tokens, views.cells.to(device))


def token_accuracy(eyes: Eyes, views: Views) -> dict[str, float]:
    """Share of the picture tokens with a thing whose aspect is read rightly; by aspect, 0..1."""
    with torch.no_grad():
        _, tokens = eyes(views.pixels)
        return read_rightly(eyes.readers.token(tokens), views.cells.tokens)
