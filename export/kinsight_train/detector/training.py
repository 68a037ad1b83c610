"""Trains the detector, exports it, and measures it through the runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from kinsight.bundle import DetectorPart
from kinsight.config import DeviceConfig
from kinsight.detect import Detector
from kinsight.drawn import KINDS
from kinsight.image import prepare
from kinsight.metrics import iou
from kinsight.session import CPU
from kinsight.types import Floats
from kinsight_export.onnx_file import Names, export_onnx, onnx_parity
from kinsight_train.detector.matching import losses
from kinsight_train.detector.network import SHAPE, Deployed, Network, Shape, preprocess
from kinsight_train.detector.scenes import Scenes, held_out, truth
from kinsight_train.loop import Run, Schedule, load_average, train

DETECTOR_SCHEDULE = Schedule(steps=7200, batch=16, peak_lr=1.5e-3, warmup=100)
SCORE_THRESHOLD, IOU_THRESHOLD = 0.1, 0.6
_LOUD = 0.3  # the score from which precision is counted
_PARITY_SCENES = 3


def train_detector(
    folder: Path,
    schedule: Schedule,
    report: Callable[[str], None],
    workers: int = 1,
    shape: Shape = SHAPE,
) -> Network:
    """A network with the averaged weights; goes on from the folder's checkpoint where there is one."""
    torch.manual_seed(schedule.seed)
    module = Network(shape)
    scenes = Scenes(schedule.seed, schedule.batch, shape.size)
    train(module, schedule, scenes, losses, Run(folder, report, workers))
    return load_detector(folder, shape)


def load_detector(folder: Path, shape: Shape = SHAPE) -> Network:
    """The averaged weights of the checkpoint. Raises ModelError where there is none."""
    return load_average(Network(shape), folder)


def export_detector(module: nn.Module, out: Path) -> float:
    """Write the ONNX file for one picture; the largest difference on drawn scenes, see `onnx_parity`."""
    size = module.shape.size
    deployed = Deployed(module).eval()
    examples = [
        torch.from_numpy(prepare(drawing.pixels, preprocess(size))[0][None])
        for drawing in held_out(0, _PARITY_SCENES)
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
        for drawing in held_out(seed, count):
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
