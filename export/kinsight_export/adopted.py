"""Takes over a detector that is ONNX already: its head recognised from its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

import numpy as np

from kinsight.bundle import Head
from kinsight.bundle.files import check_onnx
from kinsight.bundle.read import read_labels
from kinsight.detect import Detector
from kinsight.errors import ConfigError, ModelError
from kinsight.session import Session
from kinsight.types import Pixels
from kinsight_export.families import DETECTORS, preprocess
from kinsight_export.gate.report import Check, Fact, Report
from kinsight_export.gate.timing import least_ms
from kinsight_export.parts import DetectorSpec
from kinsight_export.room import check_room
from kinsight_export.trial import (
    ANOTHER_HEAD,
    GET_AGAIN,
    WORKSTATION,
    detector_part,
    input_size,
    not_yet_bundled,
    refuse_other_size,
    try_detector,
)

_COPIES = 2  # of a file's weights: as they are read, and as ONNX Runtime lays them out
_STRIDES = (8, 16, 32)
_WITH_BOXES = 0.5  # of the photos, at least: a detector that sees as told finds something in most


@dataclass(frozen=True)
class Thresholds:
    """From where on a box counts, and when two are one."""

    score: float = 0.1  # 0..1
    iou: float = 0.5  # 0..1


def adopt(
    file: Path, head: str | None, labels: Path, settings: Mapping[str, str], thresholds: Thresholds
) -> DetectorSpec:
    """The part of a file, run once.

    BundleError for a file that is no whole ONNX model or keeps weights elsewhere, ModelError where its head
    is another than named or of no kind that is known or where memory is short, ConfigError for a setting.
    """
    with not_yet_bundled(GET_AGAIN):
        check_onnx(file)
    check_room(f"taking over {file.name}", Path(gettempdir()), 0, _COPIES * file.stat().st_size)
    with not_yet_bundled(GET_AGAIN):
        size = input_size(file, dict(settings), None)
    if head is not None and head not in DETECTORS:
        raise ConfigError(f"--head {head} is not known", f"choose one of {', '.join(DETECTORS)}")
    width, height = preprocess(DETECTORS["detr"], size, settings).size_wh
    refuse_other_size(file, (width, height))
    with not_yet_bundled("give a text file with the labels, one a line"):
        rows = len(read_labels(labels))
    kind = head or recognise(file, rows, (width, height))
    rule = preprocess(DETECTORS[kind], (width, height), settings)
    licence = licence_inside(file)
    spec = DetectorSpec(file, labels, _head(kind), rule, thresholds.score, thresholds.iou, licence)
    with not_yet_bundled(ANOTHER_HEAD):
        try_detector(spec)
    return spec


def recognise(file: Path, labels: int, size_wh: tuple[int, int]) -> str:
    """The kind of head, from the names and shapes of the outputs. ModelError where none fits."""
    session = Session(file, WORKSTATION)
    names = session.outputs.keys()
    if {"labels", "boxes", "scores"} <= names or {"logits", "pred_boxes"} <= names:
        return "detr"
    shape = next(iter(session.outputs.values()))
    cells = sum((size_wh[0] // stride) * (size_wh[1] // stride) for stride in _STRIDES)
    if len(shape) == 3:
        if shape[1:] == (cells, 5 + labels):
            return "yolox"
        if shape[2] == 6:
            return "end2end"
        if shape[1] == 4 + labels:
            return "yolov8"
    said = ", ".join(f"{name} {shape}" for name, shape in session.outputs.items())
    raise ModelError(
        f"{file.name} has the outputs {said}, which with {labels} labels are of no head that is known",
        f"give the right --labels, or name the head with --head: {', '.join(DETECTORS)}",
    )


def licence_inside(file: Path) -> str | None:
    """What the file says of its licence, as Ultralytics' files do; None where it says nothing."""
    properties = Session(file, WORKSTATION).says
    said = properties.get("license", "") + properties.get("licence", "")
    return said.split()[0] if said else None


def judge_adopted(spec: DetectorSpec, pictures: Sequence[Pixels], what: str, drawn: bool) -> Report:
    """There is no source to hold it against: only whether it finds something in most of the pictures.

    `drawn` are pictures of the drawn world, in which a detector of other things may find nothing.
    """
    detector = Detector(detector_part(spec, read_labels(spec.labels)), WORKSTATION)
    counts = [len(detector.detect(pixels)) for pixels in pictures]
    share = float(np.mean([count > 0 for count in counts]))
    (took,) = least_ms([lambda: detector.detect(pictures[0])])
    prepared = "its pictures are prepared in another way: look at `scale`, `mean` and `std`, with --set"
    unknown = "the drawn scenes hold little that it knows: pass --photos FOLDER with photos of what it finds"
    check = Check(
        name="finds something",
        compared=f"the runtime on {what}; the source is not known",
        measure="share of pictures with a box",
        figure=share,
        limit=_WITH_BOXES,
        bound="at least",
        cause=unknown if drawn else prepared,
    )
    facts = (
        Fact("size", spec.file.stat().st_size / 1e6, "MB"),
        Fact("time", took, "ms a picture in the runtime, here"),
        Fact("boxes", float(np.mean(counts)), "a picture"),
    )
    return Report("detector", f"{spec.file.name}, taken over", (check,), facts)


def _head(name: str) -> Head:
    heads: dict[str, Head] = {"yolox": "yolox", "yolov8": "yolov8", "end2end": "end2end", "detr": "detr"}
    return heads[name]
