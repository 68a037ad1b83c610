"""The gate of a detector: preprocessing, raw outputs and boxes against the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import torch
from torch import nn

from kinsight.bundle.read import read_labels
from kinsight.detect import MIN_SIDE_PX, Detector, suppress
from kinsight.types import ClassVectors, Floats, Pixels
from kinsight_export.gate.causes import cause_of
from kinsight_export.gate.compare import (
    Array,
    boxes_found_again,
    selection_difference,
    tensor_difference,
    worst,
)
from kinsight_export.gate.preprocessing import preprocessing_checks
from kinsight_export.gate.report import Check, Fact, Report
from kinsight_export.gate.selected import SMALLEST_SCORE, dense_outputs, selected_difference
from kinsight_export.gate.timing import size_and_time
from kinsight_export.parts import DetectorSpec
from kinsight_export.sources.kinds import DetectorSource
from kinsight_export.trial import WORKSTATION, detector_part

RAW_LIMIT, BOXES_LIMIT = 1e-3, 0.95


def judge_detector(
    source: DetectorSource, spec: DetectorSpec, pictures: Sequence[Pixels], what: str
) -> Report:
    """Holds a detector's part against its source on these pictures; `what` they are, in words."""
    detector = Detector(detector_part(spec, read_labels(spec.labels)), WORKSTATION)
    inputs = [source.prepare(pixels) for pixels in pictures]
    rng = np.random.default_rng(1)
    inputs.append(rng.uniform(inputs[0].min(), inputs[0].max(), inputs[0].shape).astype(np.float32))
    sides = [_Side(source, detector, inputs)]
    if source.classes:
        sides.append(sides[0].told(other_classes(source.classes)))

    def apart(change: Callable[[Floats], Floats] = lambda pictures: pictures) -> float:
        return worst(side.apart([change(chw[None])[0] for chw in inputs]) for side in sides)

    figure = apart()
    raw = Check(
        name="raw outputs",
        compared=f"the file against the source, on {what} and noise",
        measure="largest difference" + (" to the nearest row" if source.selects else ""),
        figure=figure,
        limit=RAW_LIMIT,
        cause=""
        if figure <= RAW_LIMIT
        else cause_of(spec.file, source.module, lambda change: apart(change) <= RAW_LIMIT),
    )
    checks = [*preprocessing_checks(spec.preprocess, source.prepare), raw, _labels_check(source, detector)]
    if source.classes:
        checks.insert(2, _other_classes_check(sides))
    boxes, count = _boxes_check(source, detector, pictures, what)
    if boxes and not all(check.kept for check in checks):
        boxes = replace(boxes, cause="")  # what is broken before them says more surely why
    facts = size_and_time(
        [spec.file],
        lambda: detector.session.run(detector.feeds(inputs[0])),
        lambda: _source_outputs(inputs[0], source.module, source.classes),
    )
    facts.append(Fact("boxes compared", count, "boxes"))
    unjudged = () if boxes else ("boxes: none found on either side",)
    return Report("detector", source.name, (*checks, *([boxes] if boxes else [])), tuple(facts), unjudged)


def other_classes(classes: ClassVectors) -> ClassVectors:
    """The opposite of every vector, and the first one as it is: others, and one more of them."""
    vectors = np.concatenate([-classes.vectors, classes.vectors[:1]])
    return ClassVectors((*(f"no {label}" for label in classes.labels), classes.labels[0]), vectors)


class _Side:
    """A source and its file, and what the source gives for some prepared pictures, float32 (3, h, w) each."""

    def __init__(self, source: DetectorSource, detector: Detector, inputs: Sequence[Floats]) -> None:
        self.source, self.detector, self.inputs = source, detector, inputs
        module = source.dense or source.module
        self.wanted = [_source_outputs(chw, module, source.classes) for chw in inputs]

    def told(self, classes: ClassVectors) -> _Side:
        """The same, looking for something else."""
        return _Side(replace(self.source, classes=classes), self.detector.looking_for(classes), self.inputs)

    def found(self, inputs: Sequence[Floats]) -> list[list[Array]]:
        """What the file gives."""
        return [list(self.detector.session.run(self.detector.feeds(chw)).values()) for chw in inputs]

    def apart(self, inputs: Sequence[Floats]) -> float:
        """The largest difference over all inputs; boxes and scores each as a share of their largest value."""
        source, found, wanted = self.source, self.found(inputs), self.wanted
        if source.dense:
            dense = dense_outputs(self.detector, inputs, wanted[0][0].shape)
            selected = [
                selected_difference(ours[0], theirs[0]) for ours, theirs in zip(found, wanted, strict=True)
            ]
            kinds = [_difference([ours], theirs, source) for ours, theirs in zip(dense, wanted, strict=True)]
            return worst([*selected, *kinds])
        return worst(_difference(ours, theirs, source) for ours, theirs in zip(found, wanted, strict=True))


def _other_classes_check(sides: Sequence[_Side]) -> Check:
    """A control: a file that has its classes inside all the same gives the same scores for others."""
    here, there = ([outputs[0][:, 4:] for outputs in side.found(side.inputs)] for side in sides)
    differences = [
        tensor_difference(others[:, : scores.shape[1]], scores)
        for scores, others in zip(here, there, strict=True)
    ]
    return Check(
        name="other classes",
        compared="the scores of the same pictures for the opposite of each class vector",
        measure="least difference of a picture's scores",
        figure=float(np.min(differences)),
        limit=RAW_LIMIT,
        bound="at least",
        cause="the classes are inside the file all the same: export it again",
    )


def _labels_check(source: DetectorSource, detector: Detector) -> Check:
    ours, theirs = detector.part.labels, source.labels
    others = [
        f"row {row} is {one!r}, there {other!r}"
        for row, (one, other) in enumerate(zip_longest(ours, theirs))
        if one is None or other is None or one != other.strip()
    ]
    return Check(
        name="labels",
        compared="the file of labels against the source's own names",
        measure="rows of another name",
        figure=len(others),
        limit=0,
        cause=f"the labels are in another order, or another model's: {others[0]}" if others else "",
    )


def _source_outputs(chw: Floats, module: nn.Module, classes: ClassVectors | None) -> list[Array]:
    told = [torch.from_numpy(classes.vectors)[None]] if classes else []
    with torch.no_grad():
        found = module(torch.from_numpy(chw)[None], *told)
    return [value.numpy() for value in (found if isinstance(found, tuple) else (found,))]


def _difference(ours: Sequence[Array], theirs: Sequence[Array], source: DetectorSource) -> float:
    if len(ours) != len(theirs) or any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        return float("inf")
    if source.selects:
        rows = [np.concatenate([value[0] for value in values], axis=1) for values in (ours, theirs)]
        return selection_difference(rows[0], rows[1])
    if source.head == "detr":
        return worst(tensor_difference(a, b) for a, b in zip(ours, theirs, strict=True))
    axis = 1 if source.head == "yolov8" else 2
    (boxes, scores), (own_boxes, own_scores) = (np.split(found[0], [4], axis) for found in (ours, theirs))
    return worst([tensor_difference(boxes, own_boxes), tensor_difference(scores, own_scores, SMALLEST_SCORE)])


def _boxes_check(
    source: DetectorSource, detector: Detector, pictures: Sequence[Pixels], what: str
) -> tuple[Check | None, int]:
    """(the check, boxes of both sides); no check where neither side finds any."""
    again, total, ours_count, theirs_count = 0, 0, 0, 0
    for pixels in pictures:
        regions = detector.detect(pixels)
        ours, labels = regions.xyxy, np.array(regions.labels, np.str_)
        theirs, names = (rows[: max(len(ours), 20)] for rows in _once_suppressed(source, detector, pixels))
        found, both = boxes_found_again(ours, theirs, labels=(labels, names))
        again, total = again + found, total + both
        ours_count, theirs_count = ours_count + len(ours), theirs_count + len(theirs)
    if not total:
        return None, 0
    cause = "boxes lie elsewhere or are of another class: look at `resize`, `head` and the labels"
    if ours_count < 0.95 * theirs_count:
        cause = "boxes are lost: suppressed twice, or by another threshold"
    elif ours_count > 1.05 * theirs_count:
        cause = "there are too many boxes: look at `score_threshold` and `iou_threshold`"
    check = Check(
        name="boxes",
        compared=f"what the runtime finds against what the source finds, on {what}",
        measure="share found again, IoU .9 and the same label",
        figure=again / total,
        limit=BOXES_LIMIT,
        bound="at least",
        cause=cause,
    )
    return check, total


def _once_suppressed(source: DetectorSource, detector: Detector, pixels: Pixels) -> tuple[Floats, Array]:
    """(float32 (n, 4), n labels) of the source's own boxes, suppressed once across classes, best first."""
    boxes, scores, classes = source.boxes(pixels, detector.part.score_threshold)
    height, width = pixels.shape[:2]
    boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
    big = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= MIN_SIDE_PX
    boxes, scores, labels = boxes[big], scores[big], _names(source.labels)[classes[big]]
    kept = suppress(boxes, scores, detector.part.iou_threshold)
    return boxes[kept], labels[kept]


def _names(labels: Sequence[str]) -> Array:
    """As a labels file has them, which are read without what surrounds them."""
    return np.array([label.strip() for label in labels], np.str_)
