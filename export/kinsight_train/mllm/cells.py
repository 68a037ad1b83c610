"""What a picture shows, cell by cell of a grid over it: labels, and readers that learn to tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinsight.drawn import ATTRIBUTES, PLACES, Drawing, Individual, Placed
from kinsight.prompt import position
from kinsight.types import Box
from kinsight_train.loop import Losses
from kinsight_train.mllm.cast import POSITIONS
from kinsight_train.mllm.model import MllmShape

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
class Cells:
    """Of pictures, how the thing looks that fills most of every patch and every picture token."""

    patches: Tensor  # int64 (pictures, patches, aspects); -1 where no thing is, or an aspect is not known
    tokens: Tensor  # int64 (pictures, picture tokens, aspects)

    def to(self, device: torch.device) -> Cells:
        """The same on a device."""
        return Cells(self.patches.to(device), self.tokens.to(device))


Labels = tuple[np.ndarray, np.ndarray]
"""int64 (patches, aspects) and (picture tokens, aspects) of one picture."""


class Readers(nn.Module):
    """One reader of all aspects for patches and one for picture tokens; thrown away after the training."""

    def __init__(self, shape: MllmShape) -> None:
        super().__init__()
        width = sum(ASPECTS.values()) + 1
        self.patch = nn.Linear(shape.vision_hidden, width)
        self.token = nn.Linear(shape.hidden, width)

    def losses(self, patches: Tensor, tokens: Tensor, cells: Cells) -> Losses:
        """Cross-entropy of every aspect where a thing is; whether there is one, everywhere.

        `patches` and `tokens` are float (pictures, cells, width), as the tower and the projector give them.
        """
        return {
            "patches": _read_loss(self.patch(patches), cells.patches),
            "tokens": _read_loss(self.token(tokens), cells.tokens),
        }


def stacked(labels: Sequence[Labels]) -> Cells:
    """Of several pictures."""
    patches, tokens = (np.stack(each) for each in zip(*labels, strict=True))
    return Cells(torch.from_numpy(patches), torch.from_numpy(tokens))


def photo_labels(drawing: Drawing, shape: MllmShape) -> Labels:
    """Of a whole drawing."""
    height, width = drawing.pixels.shape[:2]
    aspects = [aspects_of(t, position(t.xyxy, width, height), drawing.place) for t in drawing.things]
    return labels(aspects, [thing.xyxy for thing in drawing.things], (width, height), shape)


def view_labels(one: Individual, size: tuple[int, int], shape: MllmShape) -> Labels:
    """Of a picture of somebody alone, who fills it; `size` is its width and height."""
    whole = 0.0, 0.0, float(size[0]), float(size[1])
    return labels([[*looks_of(one), NOTHING, NOTHING, NOTHING]], [whole], size, shape)


def labels(
    aspects: Sequence[Sequence[int]], boxes: Sequence[Box], size: tuple[int, int], shape: MllmShape
) -> Labels:
    """Of a picture with things of known aspects in boxes; `size` is its width and height."""
    side = shape.picture_px
    boxes = [letterboxed_box(box, *size, side) for box in boxes]
    fills = [
        filling(boxes, side, count) for count in (side // shape.patch_px, int(shape.picture_tokens**0.5))
    ]
    known = np.array(aspects, np.int64)
    patches, tokens = (np.where(thing[:, None] >= 0, known[thing], NOTHING) for thing in fills)
    return patches, tokens


def aspects_of(thing: Placed, where: str, place: str) -> list[int]:
    """Numbers of all aspects' values, in the order of ASPECTS."""
    return [
        *looks_of(thing.individual),
        POSTURES.index(thing.posture),
        POSITIONS.index(where),
        list(PLACES).index(place),
    ]


def looks_of(one: Individual) -> list[int]:
    """Numbers of its attributes' values, in the order of ATTRIBUTES."""
    return [ATTRIBUTES[name].index(value) for name, value in one.values().items()]


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


def filling(boxes: Sequence[Box], side: int, cells: int) -> np.ndarray:
    """int64 (cells * cells,): row of the box that fills most of a cell of the square, -1 where none does."""
    edges = np.linspace(0, side, cells + 1)
    shares = [
        np.outer(_overlap(edges, box[1], box[3]), _overlap(edges, box[0], box[2])).ravel() for box in boxes
    ]
    share = np.stack(shares)  # (things, cells * cells)
    return np.where(share.max(axis=0) >= _LEAST_SHARE, share.argmax(axis=0), NOTHING)


def letterboxed_box(box: Box, width: int, height: int, side: int) -> Box:
    """A box in the model's square: the longest side fills it, the picture lies in the middle."""
    scale = side / max(width, height)
    left, top = (side - width * scale) / 2, (side - height * scale) / 2
    x0, y0, x1, y1 = box
    return left + x0 * scale, top + y0 * scale, left + x1 * scale, top + y1 * scale


def _read_loss(scores: Tensor, labels: Tensor) -> Tensor:
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


def _overlap(edges: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which share of every cell lies between low and high."""
    inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.asarray(np.clip(inside / (edges[1] - edges[0]), 0, 1))
