"""Finds the things in a photo: pixels in, class-agnostic regions out; a kind of detector head is one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinsight.bundle import DetectorPart, read_classes
from kinsight.config import DeviceConfig
from kinsight.errors import ModelError
from kinsight.image import prepare
from kinsight.metrics import iou
from kinsight.session import Session, Shape
from kinsight.types import ClassVectors, Floats, Pixels, Regions

MAX_REGIONS = 20
MIN_SIDE_PX = 12.0
_STRIDES = (8, 16, 32)
_BEFORE_NMS = 300

Outputs = Mapping[str, NDArray[Any]]


class Raw(NamedTuple):
    """What a head gives before filtering: n boxes of one picture."""

    xyxy: Floats  # float32 (n, 4), pixels of the model's input
    scores: Floats  # float32 (n,), 0..1
    classes: NDArray[np.int64]  # int64 (n,), row of the labels file


class Detector:
    """A detector that is loaded and ready."""

    def __init__(self, part: DetectorPart, device: DeviceConfig) -> None:
        """Raises ModelError where the file does not load or its inputs fit no detector, BundleError where
        the vectors of its classes cannot be read."""
        self.part = part
        self.classes = read_classes(part)
        self.session = Session(part.file, device)
        self._inputs = _inputs(self.session.inputs, part, self.classes)

    def looking_for(self, classes: ClassVectors) -> Detector:
        """The same model, told to look for these; only one whose classes are an input can be told."""
        told = copy(self)
        told.part, told.classes = replace(self.part, labels=classes.labels), classes
        return told

    def detect(self, pixels: Pixels) -> Regions:
        """Regions of one photo, uint8 (height, width, 3) RGB -> at most MAX_REGIONS, best score first."""
        batch, placement = prepare(pixels, self.part.preprocess)
        raw = HEADS[self.part.head](self.session.run(self.feeds(batch)), self.part)
        raw = _above(raw, self.part.score_threshold)
        boxes = placement.to_photo(raw.xyxy)
        big = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= MIN_SIDE_PX)
        kept = big[suppress(boxes[big], raw.scores[big], self.part.iou_threshold)][:MAX_REGIONS]
        labels = tuple(self._label(int(row)) for row in raw.classes[kept])
        return Regions(boxes[kept], raw.scores[kept], labels)

    def prepared(self, pixels: Pixels) -> Floats:
        """float32 (3, h, w) of a photo, as the model takes it."""
        return prepare(pixels, self.part.preprocess)[0]

    def feeds(self, chw: Floats) -> dict[str, NDArray[Any]]:
        """What the session is fed for one prepared picture, float32 (3, h, w)."""
        feeds: dict[str, NDArray[Any]] = {self._inputs.image: chw[None]}
        if self._inputs.size:  # a deployed DETR scales its boxes itself: here to the pixels of its input
            feeds[self._inputs.size] = np.array([self.part.preprocess.size_wh], np.int64)
        if self._inputs.classes and self.classes:
            feeds[self._inputs.classes] = self.classes.vectors[None]
        return feeds

    def _label(self, row: int) -> str:
        return self.part.labels[row] if 0 <= row < len(self.part.labels) else "thing"


def _yolox(outputs: Outputs, part: DetectorPart) -> Raw:
    """YOLOX, raw: (1, n, 5 + classes), boxes as grid offsets and log sizes (arXiv 2107.08430, 2.1)."""
    head = _single(outputs, part)
    width, height = part.preprocess.size_wh
    cells, strides = _grid(width, height)
    expected = len(cells), 5 + len(part.labels)
    if head.shape != expected:
        raise _wrong_head(part, f"an output of shape {head.shape} instead of {expected}")
    centre = (head[:, :2] + cells) * strides
    with np.errstate(over="ignore"):  # what overflows is no box
        size = np.exp(head[:, 2:4]) * strides
    return _best_class(_corners(centre, size), head[:, 4:5] * head[:, 5:])


def _yolov8(outputs: Outputs, part: DetectorPart) -> Raw:
    """Anchor-free YOLO (v8, 11): (1, 4 + classes, n), centre and size in pixels."""
    head = _single(outputs, part).T
    if head.shape[1] != 4 + len(part.labels):
        raise _wrong_head(part, f"{head.shape[1]} numbers a box instead of {4 + len(part.labels)}")
    return _best_class(_corners(head[:, :2], head[:, 2:4]), head[:, 4:])


def _end2end(outputs: Outputs, part: DetectorPart) -> Raw:
    """YOLO without NMS (v10, 26): (1, n, 6), corners in pixels, score, class."""
    head = _single(outputs, part)
    if head.shape[1] != 6:
        raise _wrong_head(part, f"{head.shape[1]} numbers a box instead of 6")
    classes = np.nan_to_num(head[:, 5], nan=-1, posinf=-1, neginf=-1)
    return Raw(head[:, :4], head[:, 4], classes.astype(np.int64))


def _detr(outputs: Outputs, part: DetectorPart) -> Raw:
    """DETR family: labels, boxes, scores (deployed) or logits, pred_boxes (as trained, 0..1)."""
    if {"labels", "boxes", "scores"} <= outputs.keys():
        boxes, scores = (outputs[name][0].astype(np.float32) for name in ("boxes", "scores"))
        return Raw(boxes, scores, outputs["labels"][0].astype(np.int64))
    if {"logits", "pred_boxes"} <= outputs.keys():
        size = np.array(part.preprocess.size_wh * 2, np.float32)
        boxes = outputs["pred_boxes"][0].astype(np.float32) * size
        with np.errstate(over="ignore"):  # a score of 0
            scores = 1 / (1 + np.exp(-outputs["logits"][0].astype(np.float32)))
        return _best_class(_corners(boxes[:, :2], boxes[:, 2:]), scores)
    raise _wrong_head(part, f"outputs {', '.join(outputs)}")


HEADS: dict[str, Callable[[Outputs, DetectorPart], Raw]] = {
    "yolox": _yolox,
    "yolov8": _yolov8,
    "end2end": _end2end,
    "detr": _detr,
}


def _single(outputs: Outputs, part: DetectorPart) -> Floats:
    """The only output of the only picture: float32 (rows, columns)."""
    (first, *_) = outputs.values()
    if first.ndim != 3 or first.shape[0] != 1:
        raise _wrong_head(part, f"an output of shape {first.shape}")
    rows: Floats = first[0].astype(np.float32, copy=False)
    return rows


def _grid(width: int, height: int) -> tuple[Floats, Floats]:
    """Cell corners (n, 2) in cells and strides (n, 1) in pixels, over all levels in order."""
    cells, strides = [], []
    for stride in _STRIDES:
        rows, columns = height // stride, width // stride
        y, x = np.mgrid[0:rows, 0:columns]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _corners(centre: Floats, size: Floats) -> Floats:
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def _best_class(xyxy: Floats, scores: Floats) -> Raw:
    classes = scores.argmax(axis=1)
    return Raw(xyxy, scores[np.arange(len(scores)), classes], classes)


def _above(raw: Raw, threshold: float) -> Raw:
    """The rows at or above the threshold, best first, never more than NMS can chew."""
    sound = np.flatnonzero(
        np.isfinite(raw.xyxy).all(axis=1) & np.isfinite(raw.scores) & (raw.scores >= threshold)
    )
    order = sound[np.argsort(-raw.scores[sound], kind="stable")][:_BEFORE_NMS]
    return Raw(raw.xyxy[order].astype(np.float32), raw.scores[order].astype(np.float32), raw.classes[order])


def suppress(xyxy: Floats, scores: Floats, iou_threshold: float) -> NDArray[np.int64]:
    """Class-agnostic non-maximum suppression: rows to keep, best first."""
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(xyxy, xyxy) > iou_threshold
    kept: list[int] = []
    for row in order:
        if not overlaps[row, kept].any():
            kept.append(int(row))
    return np.array(kept, np.int64)


class _Inputs(NamedTuple):
    """Names of a graph's inputs."""

    image: str  # float32 (1, 3, h, w)
    size: str | None  # int64 (1, 2): width and height, in pixels
    classes: str | None  # float32 (1, n, dim): what to look for


def _inputs(inputs: Mapping[str, Shape], part: DetectorPart, classes: ClassVectors | None) -> _Inputs:
    named = {len(shape): name for name, shape in inputs.items()}
    if 4 not in named or len(named) < len(inputs) or not named.keys() <= {2, 3, 4}:
        raise ModelError(
            f"{part.file.name} has the inputs {', '.join(inputs)}",
            "a detector takes one picture, (1, 3, h, w)",
        )
    if (3 in named) != (classes is not None):
        raise ModelError(
            f"{part.file.name} {'takes' if 3 in named else 'does not take'} its classes as vectors",
            "give their file in [detector.classes] of bundle.toml" if 3 in named else "leave out their file",
        )
    if classes and inputs[named[3]][2] not in (classes.vectors.shape[1], None):
        raise ModelError(
            f"{part.file.name} takes classes as vectors of {inputs[named[3]][2]} numbers, and "
            f"{classes.vectors.shape[1]} are given",
            "make them with the text tower that it was trained with",
        )
    return _Inputs(named[4], named.get(2), named.get(3))


def _wrong_head(part: DetectorPart, what: str) -> ModelError:
    return ModelError(
        f"{part.file.name} gives {what}, which is not a {part.head} head",
        f"name the right head ({', '.join(HEADS)}) and the right labels in bundle.toml",
    )
