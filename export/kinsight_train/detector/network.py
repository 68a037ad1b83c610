"""The network: a path-aggregation network without anchors, and what of it is exported."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinsight.bundle import Preprocess
from kinsight.drawn import KINDS

STRIDES = (8, 16, 32)
_USUAL_SIZE = 1.2  # log of a box's side in strides, before anything is learned
_EVEN, _STEEPNESS = 0.2, 3.0
"""A cell's claim of `_EVEN` becomes a score of one half, others are so many times steeper in log odds: eight
cells share a thing, none claims all of it (things .16 to .56, half of them under .36; others under .26)."""


@dataclass(frozen=True)
class Shape:
    """How large the network is."""

    size: int = 256  # pixels, both sides of its input
    widths: tuple[int, int, int, int] = (32, 64, 128, 128)  # channels at strides 4, 8, 16, 32
    neck: int = 64  # channels of neck and heads


SHAPE = Shape()
"""That of the pocket bundle."""


def preprocess(size: int) -> Preprocess:
    """How the runtime makes the input: RGB from 0 to 1, letterboxed from the top left."""
    return Preprocess((size, size), "rgb", 1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "letterbox")


class _Conv(nn.Sequential):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.SiLU(inplace=True))


class _Stage(nn.Module):
    """Half of the channels go through two convolutions, the others around them (arXiv 1911.11929)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.split = _Conv(inputs, outputs, 1)
        self.inner = nn.Sequential(_Conv(half, half), _Conv(half, half))
        self.merge = _Conv(outputs, outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        around, through = self.split(maps).chunk(2, 1)
        return self.merge(torch.cat([around, through + self.inner(through)], 1))


class _Head(nn.Module):
    """One level: (b, neck, h, w) -> (b, 5 + kinds, h, w)."""

    def __init__(self, neck: int) -> None:
        super().__init__()
        self.where, self.what = _Conv(neck, neck // 2), _Conv(neck, neck)
        self.box, self.kind = nn.Conv2d(neck // 2, 5, 1), nn.Conv2d(neck, len(KINDS), 1)
        with torch.no_grad():  # the middle of the cell, a usual size, a thing in one cell of a hundred
            self.box.weight.mul_(0.1)
            self.box.bias.copy_(torch.tensor([0.5, 0.5, _USUAL_SIZE, _USUAL_SIZE, -4.6]))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.box(self.where(maps)), self.kind(self.what(maps))], 1)


class Network(nn.Module):
    """float32 (b, 3, size, size), 0..1 -> (b, cells, 5 + kinds): offsets, log sizes, logits.

    A path-aggregation network (arXiv 1803.01534) over strides 8, 16 and 32, read as a YOLOX head.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        first, *widths = shape.widths
        neck, inputs = shape.neck, (first, *widths)
        self.stem = _Conv(3, first, 6, 4)
        self.levels = nn.ModuleList(
            nn.Sequential(_Conv(before, width, 3, 2), _Stage(width, width))
            for before, width in zip(inputs, widths, strict=False)
        )
        self.lateral = nn.ModuleList(_Conv(width, neck, 1) for width in widths)
        self.down = nn.ModuleList(_Stage(2 * neck, neck) for _ in widths[1:])
        self.shrink = nn.ModuleList(_Conv(neck, neck, 3, 2) for _ in widths[1:])
        self.up = nn.ModuleList(_Stage(2 * neck, neck) for _ in widths[1:])
        self.heads = nn.ModuleList(_Head(neck) for _ in widths)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Raw numbers, cells in the order of the runtime's `_grid`."""
        maps = self.stem(images.contiguous(memory_format=torch.channels_last))
        found = []
        for level, lateral in zip(self.levels, self.lateral, strict=True):
            maps = level(maps)
            found.append(lateral(maps))
        for row in (1, 0):  # from coarse to fine, then back
            coarse = functional.interpolate(found[row + 1], scale_factor=2.0, mode="nearest")
            found[row] = self.down[row](torch.cat([found[row], coarse], 1))
        for row in (0, 1):
            found[row + 1] = self.up[row](torch.cat([self.shrink[row](found[row]), found[row + 1]], 1))
        heads = [head(maps).flatten(2) for head, maps in zip(self.heads, found, strict=True)]
        return torch.cat(heads, 2).transpose(1, 2)


class Deployed(nn.Module):
    """What is exported: logits become scores of things, and probabilities over all kinds."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """float32 (1, 3, size, size) -> (1, cells, 5 + kinds), a YOLOX head."""
        raw = self.network(images)
        there = (_STEEPNESS * (raw[..., 4:5] - log(_EVEN / (1 - _EVEN)))).sigmoid()
        return torch.cat([raw[..., :4], there, raw[..., 5:].softmax(-1)], -1)
