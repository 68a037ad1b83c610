"""Ultralytics' detectors: YOLO v8, 11, 26, YOLO-World and YOLOE, from a .pt file or one of its configs."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinsight.bundle import Preprocess
from kinsight.errors import ConfigError, MissingPackage, ModelError
from kinsight.types import ClassVectors, Floats, Pixels
from kinsight_export.licences import ULTRALYTICS
from kinsight_export.sources.kinds import Boxes, DetectorSource, Prepare, Vocabulary

_IOU = 0.7  # of its own suppression within a class; ours, across classes, comes after it
_DEFAULT_SIDE = 640


def open_yolo(source: str, size_wh: tuple[int, int] | None, words: Vocabulary | None) -> DetectorSource:
    """A model of Ultralytics'. `words` is a vocabulary for YOLO-World, to be baked in or to be an input.

    MissingPackage without ultralytics, ModelError where the file does not load or is no detector.
    """
    model = _load(source)
    head = model.model[-1]
    if model.task not in ("detect", "segment"):
        raise ModelError(f"{source} is a model for the task {model.task}", "use one that detects things")
    open_vocabulary = hasattr(model, "txt_feats")
    labels = tuple(str(model.names[row]) for row in sorted(model.names))
    classes = None
    if words is not None:
        if not open_vocabulary:
            raise ConfigError(f"{source} takes no other classes", "use a YOLO-World v2, or leave them out")
        labels = words.labels or labels
        classes = _set_classes(model, ClassVectors(labels, words.texts(labels)), words.embedder)
    told = classes if words and words.as_input else None
    end2end = getattr(head, "one2one_cv2", None) is not None
    if end2end:
        model.end2end = True
    size = size_wh or _own_size(model)
    rule = Preprocess(size, "rgb", 1 / 255, (0.0,) * 3, (1.0,) * 3, "letterbox", "centre", 114)
    return DetectorSource(
        name=f"{Path(source).name} of Ultralytics",
        licence=ULTRALYTICS,
        head="end2end" if end2end else "yolov8",
        rule=rule,
        labels=labels,
        module=_BoxesOfClasses(model) if told else _Boxes(model, 6 if end2end else 4 + len(labels), end2end),
        outputs=("output0",),
        prepare=_prepare(size),
        boxes=_boxes(model, _prepare(size), size, (end2end, len(labels))),
        dense=_BeforeSelection(model, 4 + len(labels)) if end2end else None,
        classes=told,
    )


class _Boxes(nn.Module):
    """Only the boxes with their scores, without masks and what training needs."""

    def __init__(self, model: Any, numbers: int, last: bool) -> None:
        super().__init__()
        self.model = model
        self.numbers = numbers  # of a box
        self.last = last  # they are the last axis, else the second

    def forward(self, pictures: Tensor) -> Tensor:
        """float32 (1, 3, h, w) -> (1, 4 + n, boxes), or (1, boxes, 6) of a selection."""
        found = self.model(pictures)
        while isinstance(found, (tuple, list)):
            found = found[0]
        boxes: Tensor = found[..., : self.numbers] if self.last else found[:, : self.numbers]
        return boxes


class _BoxesOfClasses(nn.Module):
    """The same of a YOLO-World that is told with every picture what to look for."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """float32 (1, 3, h, w) and (1, n, d) of unit length -> (1, 4 + n, boxes), for any n."""
        head = self.model.model[-1]
        before, head.nc = head.nc, classes.shape[1]  # traced, so that the file takes any number
        try:
            found = self.model.predict(pictures, txt_feats=classes)
        finally:
            head.nc = before
        while isinstance(found, (tuple, list)):
            found = found[0]
        boxes: Tensor = found
        return boxes


class _BeforeSelection(nn.Module):
    """Every box with the scores of all classes, of a model that selects."""

    def __init__(self, model: Any, numbers: int) -> None:
        super().__init__()
        self.model = model
        self.numbers = numbers  # of a box

    def forward(self, pictures: Tensor) -> Tensor:
        """float32 (1, 3, h, w) -> (1, n, 4 + classes)."""
        head = self.model.model[-1]
        head.postprocess = lambda found: found
        try:
            found = self.model(pictures)
        finally:
            del head.postprocess
        while isinstance(found, (tuple, list)):
            found = found[0]
        boxes: Tensor = found[..., : self.numbers]
        return boxes


def _load(source: str) -> Any:
    """The network, in evaluation. Nothing is downloaded, installed or reported while this runs."""
    path = Path(source)
    if path.suffix == ".pt" and not path.is_file():
        raise ModelError(f"there is no file {path}", "download the weights first, nothing is fetched here")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="kinsight-ultralytics-"))
    try:
        from ultralytics import YOLO, YOLOE, YOLOWorld
    except ImportError as error:
        raise MissingPackage(
            f"this is a model of Ultralytics', whose package is not there ({error})",
            f"pip install 'kinsight[ultralytics]' (it is under {ULTRALYTICS})",
        ) from None
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    stem = path.stem.lower()
    kind = YOLOE if "yoloe" in stem else YOLOWorld if "world" in stem and path.suffix != ".pt" else YOLO
    try:
        network = kind(source).model
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, EOFError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"Ultralytics cannot load {path.name} ({reason})", "get the file again") from None
    if not isinstance(network, nn.Module):
        raise ModelError(f"{path.name} holds no network", "pass a .pt file of Ultralytics', or a config")
    network.float().eval()
    return network


def _own_size(model: Any) -> tuple[int, int]:
    """What it was trained with, where the file says it."""
    arguments = getattr(model, "args", {})
    side = arguments.get("imgsz") if isinstance(arguments, dict) else getattr(arguments, "imgsz", None)
    side = side if isinstance(side, int) else _DEFAULT_SIDE
    return side, side


def _set_classes(model: Any, classes: ClassVectors, embedder: str) -> ClassVectors:
    width = int(model.txt_feats.shape[-1])
    if classes.vectors.shape[1] != width:
        raise ConfigError(
            f"the words of {embedder} are vectors of {classes.vectors.shape[1]} numbers, this model "
            f"takes {width}",
            "use the embedder that it was trained with: CLIP ViT-B/32",
        )
    model.txt_feats = torch.from_numpy(classes.vectors)[None]
    model.model[-1].nc = len(classes.labels)
    return classes


def _prepare(size_wh: tuple[int, int]) -> Prepare:
    from ultralytics.data.augment import LetterBox

    width, height = size_wh
    letterbox = LetterBox(new_shape=(height, width), auto=False)

    def prepare(pixels: Pixels) -> Floats:
        bgr = letterbox(image=np.ascontiguousarray(pixels[..., ::-1]))
        chw = np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1), np.float32)
        scaled: Floats = chw / np.float32(255)
        return scaled

    return prepare


def _boxes(model: Any, prepare: Prepare, size_wh: tuple[int, int], kind: tuple[bool, int]) -> Boxes:
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import scale_boxes

    end2end, count = kind

    def boxes(pixels: Pixels, threshold: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
        with torch.no_grad():
            found = model(torch.from_numpy(prepare(pixels))[None])
        while isinstance(found, (tuple, list)) and not isinstance(found[0], Tensor):
            found = found[0]
        (rows,) = non_max_suppression(found[0], threshold, _IOU, nc=count, end2end=end2end)
        xyxy = scale_boxes(size_wh[::-1], rows[:, :4].clone(), pixels.shape[:2])
        scores, classes = np.asarray(rows[:, 4], np.float32), np.asarray(rows[:, 5]).astype(np.int64)
        return np.asarray(xyxy, np.float32), scores, classes

    return boxes
