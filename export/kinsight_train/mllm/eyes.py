"""First lessons for the language model's eyes: of every patch, what thing it shows and how that looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinsight.drawn import ATTRIBUTES, PLACES, Drawing, Individual, individual, look_alike, random_scene
from kinsight.drawn.scenes import draw_scene
from kinsight.image import crop
from kinsight.prompt import position
from kinsight.types import Box, Floats
from kinsight_train.loop import Losses
from kinsight_train.mllm.cast import POSITIONS, REFERENCE_WH, loose
from kinsight_train.mllm.model import Mllm, MllmShape
from kinsight_train.mllm.picture import preprocess

POSTURES = ("", "standing", "sitting", "lying")
ASPECTS = {name: len(values) for name, values in ATTRIBUTES.items()} | {
    "posture": len(POSTURES),
    "position": len(POSITIONS),  # of the whole thing: else no token knows where it stands itself
    "place": len(PLACES),
}
NOTHING = -1
_WEIGHTS = {"position": 4.0}  # of an aspect in the loss; 1 else
_LEAST_SHARE = 0.2  # of a cell, for the thing in it to count


@dataclass(frozen=True)
class Views:
    """Pictures, and of every cell of a grid over them which thing shows there."""

    pixels: Tensor  # float32 (pictures, 3, side, side)
    patches: Tensor  # int64 (pictures, patches, aspects); -1 where no thing is
    tokens: Tensor  # int64 (pictures, picture tokens, aspects)


@dataclass(frozen=True)
class ViewBatches:
    """Step -> pictures: half of them scenes, half single views as references are."""

    seed: int
    pictures: int
    shape: MllmShape

    def __call__(self, step: int) -> Views:
        """The batch of a step."""
        drawn = [self._picture(np.random.default_rng((self.seed, step, n)), n) for n in range(self.pictures)]
        pixels, patches, tokens = (np.stack(each) for each in zip(*drawn, strict=True))
        return Views(torch.from_numpy(pixels), torch.from_numpy(patches), torch.from_numpy(tokens))

    def _picture(self, rng: np.random.Generator, number: int) -> tuple[Floats, np.ndarray, np.ndarray]:
        side = self.shape.picture_px
        if number % 2:
            drawing = random_scene(rng)
            pixels, boxes = drawing.pixels, [thing.xyxy for thing in drawing.things]
        else:
            one = individual(rng)
            drawing = draw_scene([look_alike(one, rng) if rng.random() < 0.5 else one], rng, REFERENCE_WH)
            x0, y0, x1, y1 = loose(drawing.things[0].xyxy, rng)
            pixels = crop(drawing.pixels, (x0, y0, x1, y1))
            boxes = [(0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))]
        height, width = pixels.shape[:2]
        rows = [_aspects(drawing, row, position(box, width, height)) for row, box in enumerate(boxes)]
        boxes = [letterboxed_box(box, width, height, side) for box in boxes]
        grids = (side // self.shape.patch_px, int(self.shape.picture_tokens**0.5))
        patches, tokens = (_labels(rows, boxes, side, cells) for cells in grids)
        return preprocess(pixels, side), patches, tokens


class Eyes(nn.Module):
    """The model's picture tower and projector, with a reader for every aspect that is thrown away later."""

    def __init__(self, model: Mllm) -> None:
        super().__init__()
        self.net = model.net.model.vision_tower
        self.projector = model.net.model.multi_modal_projector
        self._model = [model]  # not a child: only its eyes are trained
        width = sum(ASPECTS.values()) + 1
        self.read_patch = nn.Linear(model.shape.vision_hidden, width)
        self.read_token = nn.Linear(model.shape.hidden, width)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all aspects for every patch and every picture token."""
        model = self._model[0]
        patches = model.patches(pixels)
        return self.read_patch(patches), self.read_token(model.project(patches))


def loss_of(eyes: nn.Module, views: Views) -> Losses:
    """Cross-entropy of every aspect where a thing is; whether there is one, everywhere."""
    device = next(eyes.parameters()).device
    patches, tokens = eyes(views.pixels.to(device))
    return {
        "patches": read_loss(patches, views.patches.to(device)),
        "tokens": read_loss(tokens, views.tokens.to(device)),
    }


def token_accuracy(eyes: Eyes, views: Views) -> dict[str, float]:
    """Share of the picture tokens with a thing whose aspect is read rightly; by aspect, 0..1."""
    with torch.no_grad():
        _, scores = eyes(views.pixels)
    return read_rightly(scores, views.tokens)


def read_rightly(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Share of the cells where an aspect is known whose best score is right; by aspect, 0..1."""
    right, begin = {}, 1
    for column, (name, count) in enumerate(ASPECTS.items()):
        best, known = scores[..., begin : begin + count].argmax(-1), labels[..., column] != NOTHING
        right[name] = (best == labels[..., column])[known].float().mean().item()
        begin += count
    return right


def told(shares: Mapping[str, float]) -> str:
    """ "kind 0.71, colour 0.75"."""
    return ", ".join(f"{name} {share:.2f}" for name, share in shares.items())


def read_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Of the scores of every aspect, (pictures, cells, ...), beside what is there; -1: not known."""
    scores = scores.float().flatten(0, 1)
    labels = labels.flatten(0, 1)
    there = labels[:, 0] >= 0
    total = functional.binary_cross_entropy_with_logits(scores[:, 0], there.float())
    begin = 1
    for column, (name, count) in enumerate(ASPECTS.items()):
        known = labels[:, column] != NOTHING
        if known.any():  # the mean of none is nan
            loss = functional.cross_entropy(scores[known, begin : begin + count], labels[known, column])
            total = total + _WEIGHTS.get(name, 1.0) * loss
        begin += count
    return total


def _labels(aspects: list[list[int]], boxes: list[Box], side: int, cells: int) -> np.ndarray:
    """int64 (cells * cells, aspects): those of the thing that fills most of a cell, -1 where none does."""
    thing = filling(boxes, side, cells)
    return np.where(thing[:, None] >= 0, np.array(aspects, np.int64)[thing], NOTHING)


def filling(boxes: Sequence[Box], side: int, cells: int) -> np.ndarray:
    """int64 (cells * cells,): row of the box that fills most of a cell of the square, -1 where none does."""
    edges = np.linspace(0, side, cells + 1)
    shares = [
        np.outer(_overlap(edges, box[1], box[3]), _overlap(edges, box[0], box[2])).ravel() for box in boxes
    ]
    share = np.stack(shares)  # (things, cells * cells)
    return np.where(share.max(axis=0) >= _LEAST_SHARE, share.argmax(axis=0), NOTHING)


def _overlap(edges: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which share of every cell lies between low and high."""
    inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.asarray(np.clip(inside / (edges[1] - edges[0]), 0, 1))


def _aspects(drawing: Drawing, row: int, where: str) -> list[int]:
    thing = drawing.things[row]
    return [
        *looks_of(thing.individual),
        POSTURES.index(thing.posture),
        POSITIONS.index(where),
        list(PLACES).index(drawing.place),
    ]


def looks_of(one: Individual) -> list[int]:
    """Numbers of its attributes' values, in the order of ATTRIBUTES."""
    return [ATTRIBUTES[name].index(value) for name, value in one.values().items()]


def letterboxed_box(box: Box, width: int, height: int, side: int) -> Box:
    """A box in the model's square: the longest side fills it, the picture lies in the middle."""
    scale = side / max(width, height)
    left, top = (side - width * scale) / 2, (side - height * scale) / 2
    x0, y0, x1, y1 = box
    return left + x0 * scale, top + y0 * scale, left + x1 * scale, top + y1 * scale
