"""The pocket bundle's detector: a small network without anchors, trained on drawn scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kinsight.bundle import DetectorPart, Preprocess
from kinsight.config import DeviceConfig
from kinsight.detect import Detector
from kinsight.drawn import KINDS, Drawing, random_scene
from kinsight.image import prepare
from kinsight.metrics import iou
from kinsight.session import CPU
from kinsight.types import Floats
from kinsight_export.onnx_file import Names, export_onnx, onnx_parity
from kinsight_train.loop import Losses, Run, Schedule, load_average, train

DETECTOR_SCHEDULE = Schedule(steps=7200, batch=16, peak_lr=1.5e-3, warmup=100)
SCORE_THRESHOLD, IOU_THRESHOLD = 0.1, 0.6
LEAST_VISIBLE = 0.25  # of a thing; what is hidden more than that is not looked for
_STRIDES = (8, 16, 32)
_CELLS_A_THING = 8
_REACH = 2.5  # strides from a thing's centre in which its cells lie
_USUAL_SIZE = 1.2  # log of a box's side in strides, before anything is learned
_MOST_THINGS = 8  # a scene; all arrays of one batch have this length
_LOUD = 0.3  # the score from which precision is counted
_PARITY_SCENES = 3
_EVEN, _STEEPNESS = 0.2, 3.0
"""A cell's claim of `_EVEN` becomes a score of one half, others are so many times steeper in log odds: eight
cells share a thing, none claims all of it (things .16 to .56, half of them under .36; others under .26)."""
_BOX, _THERE, _KIND = 2.0, 1.0, 1.0  # weights of the losses


@dataclass(frozen=True)
class Shape:
    """How large the network is."""

    size: int = 256  # pixels, both sides of its input
    widths: tuple[int, int, int, int] = (32, 64, 128, 128)  # channels at strides 4, 8, 16, 32
    neck: int = 64  # channels of neck and heads


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


class _Deployed(nn.Module):
    """What is exported: logits become scores of things, and probabilities over all kinds."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        raw = self.network(images)
        there = (_STEEPNESS * (raw[..., 4:5] - log(_EVEN / (1 - _EVEN)))).sigmoid()
        return torch.cat([raw[..., :4], there, raw[..., 5:].softmax(-1)], -1)


class Pictures(NamedTuple):
    """A batch of b scenes as the network's input and what is in them."""

    pixels: NDArray[np.uint8]  # (b, 3, size, size)
    xyxy: Floats  # float32 (b, _MOST_THINGS, 4), input pixels; 0 where there is nothing
    kinds: NDArray[np.int64]  # (b, _MOST_THINGS), row of KINDS; -1 where there is nothing


@dataclass(frozen=True)
class Scenes:
    """step -> Pictures, each scene drawn from (seed, step, number)."""

    seed: int
    batch: int
    size: int

    def __call__(self, step: int) -> Pictures:
        out = Pictures(
            np.empty((self.batch, 3, self.size, self.size), np.uint8),
            np.zeros((self.batch, _MOST_THINGS, 4), np.float32),
            np.full((self.batch, _MOST_THINGS), -1, np.int64),
        )
        for row in range(self.batch):
            drawing = random_scene(np.random.default_rng((self.seed, step, row)))
            chw, placement = prepare(drawing.pixels, preprocess(self.size))
            out.pixels[row] = np.rint(chw * 255)
            xyxy, kinds = truth(drawing)
            xyxy = xyxy * np.array(placement.scale_xy * 2, np.float32)
            out.xyxy[row, : len(kinds)], out.kinds[row, : len(kinds)] = (
                xyxy[:_MOST_THINGS],
                kinds[:_MOST_THINGS],
            )
        return out


def truth(drawing: Drawing) -> tuple[Floats, NDArray[np.int64]]:
    """What a detector should find: boxes, float32 (n, 4), photo pixels, and kinds, int64 (n,)."""
    things = [thing for thing in drawing.things if thing.visible >= LEAST_VISIBLE]
    xyxy = np.array([thing.xyxy for thing in things], np.float32).reshape(-1, 4)
    return xyxy, np.array([KINDS.index(thing.individual.kind) for thing in things], np.int64)


def losses(module: nn.Module, batch: Pictures) -> Losses:
    """Of boxes (generalised IoU), of whether there is a thing (its box's quality), and of kinds."""
    place = next(module.parameters()).device
    pixels, xyxy, kinds = (torch.from_numpy(array).to(place) for array in batch)
    raw = module(pixels.float() / 255)
    with torch.autocast(place.type, enabled=False):
        raw = raw.float()
        boxes = _decode(raw, pixels.shape[-1])
        with torch.no_grad():
            quality, owner = _assign(boxes, xyxy, kinds)
        picture, cell = quality.nonzero(as_tuple=True)
        thing = owner[picture, cell]
        weight, total = quality[picture, cell], quality.sum().clamp(min=1)
        overlap = _overlap(boxes[picture, cell], xyxy[picture, thing], generalised=True)
        there = functional.binary_cross_entropy_with_logits(raw[..., 4], quality, reduction="sum")
        kind = functional.cross_entropy(raw[picture, cell, 5:], kinds[picture, thing], reduction="none")
        return {
            "box": _BOX * ((1 - overlap) * weight).sum() / total,
            "there": _THERE * there / total,
            "kind": _KIND * (kind * weight).sum() / total,
        }


def _cells(size: int, place: torch.device) -> tuple[Tensor, Tensor]:
    """Corners (n, 2) in cells and strides (n, 1) in pixels, in the order of the runtime's `_grid`."""
    corners, strides = [], []
    for stride in _STRIDES:
        side = torch.arange(size // stride, device=place, dtype=torch.float32)
        y, x = torch.meshgrid(side, side, indexing="ij")
        corners.append(torch.stack([x, y], -1).reshape(-1, 2))
        strides.append(torch.full((len(side) ** 2, 1), float(stride), device=place))
    return torch.cat(corners), torch.cat(strides)


def _decode(raw: Tensor, size: int) -> Tensor:
    """(b, n, 5 + kinds) -> corners (b, n, 4), input pixels."""
    corners, strides = _cells(size, raw.device)
    centre = (raw[..., :2] + corners) * strides
    half = raw[..., 2:4].clamp(max=6).exp() * strides / 2
    return torch.cat([centre - half, centre + half], -1)


def _assign(boxes: Tensor, xyxy: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """The quality (b, n) that each cell should claim, 0 for none, and the thing (b, n) that it should box.

    The best boxes near the middle of each thing, after arXiv 2108.07755 but by the box alone: chosen by kind
    too, only cells that know the kind already were taught it (91 % right there, 66 % where it counted). The
    best should claim its IoU, the others less in proportion. A cell that several want takes the closest.
    """
    size = round((boxes.shape[1] / sum(stride**-2 for stride in _STRIDES)) ** 0.5)
    corners, strides = _cells(size, boxes.device)
    centre = (corners + 0.5) * strides  # (n, 2)
    low, high = xyxy[:, :, None, :2], xyxy[:, :, None, 2:]
    near = (centre - (low + high) / 2).abs() < _REACH * strides
    possible = (near & (centre > low) & (centre < high)).all(-1) & (kinds >= 0)[..., None]  # (b, things, n)
    overlap = _overlap(boxes[:, None], xyxy[:, :, None]) * possible
    merit = overlap**3
    best, rows = merit.topk(_CELLS_A_THING, -1)
    merit = torch.zeros_like(merit).scatter(-1, rows, best)
    share = merit / merit.amax(-1, keepdim=True).clamp(min=1e-12) * overlap.amax(-1, keepdim=True)
    owner = (overlap * (merit > 0)).argmax(1, keepdim=True)
    return share.gather(1, owner)[:, 0], owner[:, 0]


def _overlap(ours: Tensor, theirs: Tensor, generalised: bool = False) -> Tensor:
    """IoU of pairs of corners (..., 4), or generalised IoU (arXiv 1902.09630)."""
    low, high = torch.maximum(ours[..., :2], theirs[..., :2]), torch.minimum(ours[..., 2:], theirs[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    either = _area(ours) + _area(theirs) - both
    share = both / either.clamp(min=1e-6)
    if not generalised:
        return share
    low, high = torch.minimum(ours[..., :2], theirs[..., :2]), torch.maximum(ours[..., 2:], theirs[..., 2:])
    hull = (high - low).prod(-1).clamp(min=1e-6)
    return share - (hull - either) / hull


def _area(xyxy: Tensor) -> Tensor:
    return (xyxy[..., 2:] - xyxy[..., :2]).prod(-1)


def train_detector(
    folder: Path,
    schedule: Schedule,
    report: Callable[[str], None],
    workers: int = 1,
    shape: Shape = Shape(),
) -> Network:
    """A network with the averaged weights; goes on from the folder's checkpoint where there is one."""
    torch.manual_seed(schedule.seed)
    module = Network(shape)
    scenes = Scenes(schedule.seed, schedule.batch, shape.size)
    train(module, schedule, scenes, losses, Run(folder, report, workers))
    return load_detector(folder, shape)


def load_detector(folder: Path, shape: Shape = Shape()) -> Network:
    """The averaged weights of the checkpoint. Raises ModelError where there is none."""
    return load_average(Network(shape), folder)


def export_detector(module: nn.Module, out: Path) -> float:
    """Write the ONNX file for one picture; the largest difference on drawn scenes, see `onnx_parity`."""
    size = module.shape.size
    deployed = _Deployed(module).eval()
    examples = [
        torch.from_numpy(prepare(drawing.pixels, preprocess(size))[0][None])
        for drawing in _held_out(0, _PARITY_SCENES)
    ]
    export_onnx(deployed, examples[0], out, Names(("images",), ("boxes",)), dynamic_batch=False)
    return onnx_parity(deployed, examples, out)


@dataclass(frozen=True)
class DetectorScores:
    """How well a detector finds what is drawn, all shares 0..1."""

    recall: float  # of the things, found with an IoU of .5 at the bundle's threshold
    precision: float  # of the regions with a score of .3 or more
    kinds_right: float  # of the things that were found


def evaluate(module: nn.Module, seed: int, count: int) -> DetectorScores:
    """Scores on scenes that no training has seen, through the exported file and the runtime's detector."""
    found = things = right = loud = true = 0
    with TemporaryDirectory() as folder:
        file = Path(folder) / "detector.onnx"
        export_detector(module, file)
        detector = Detector(part(file, module.shape.size), DeviceConfig("workstation", (CPU,), 0, 1024))
        for drawing in _held_out(seed, count):
            xyxy, kinds = truth(drawing)
            regions = detector.detect(drawing.pixels)
            pairs = _pairs(iou(regions.xyxy, xyxy))
            found, things = found + len(pairs), things + len(kinds)
            right += sum(regions.labels[region] == KINDS[kinds[thing]] for region, thing in pairs)
            loud += int((regions.scores >= _LOUD).sum())
            true += sum(bool(regions.scores[region] >= _LOUD) for region, _ in pairs)
    return DetectorScores(found / max(1, things), true / max(1, loud), right / max(1, found))


def part(file: Path, size: int) -> DetectorPart:
    """The file as a bundle has it."""
    return DetectorPart(file, "", "yolox", preprocess(size), KINDS, SCORE_THRESHOLD, IOU_THRESHOLD)


def _held_out(seed: int, count: int) -> Iterator[Drawing]:
    """Scenes whose seeds no training uses: those end in 0, as numpy fills them up, and these in 1."""
    return (random_scene(np.random.default_rng((seed, number, 0, 1))) for number in range(count))


def _pairs(overlaps: Floats) -> list[tuple[int, int]]:
    """Regions, best first, each with the free thing that it overlaps most, by .5 or more."""
    pairs: list[tuple[int, int]] = []
    free = np.ones(overlaps.shape[1], bool)
    for region, row in enumerate(overlaps * 1.0):
        row[~free] = 0
        if free.any() and row.max() >= 0.5:
            free[row.argmax()] = False
            pairs.append((region, int(row.argmax())))
    return pairs
