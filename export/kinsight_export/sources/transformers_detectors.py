"""Detectors of transformers: YOLOS, RT-DETR, D-FINE and their like, from a checkpoint's folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinsight.errors import ModelError
from kinsight.types import Floats, Pixels
from kinsight_export.sources.kinds import Boxes, DetectorSource
from kinsight_export.sources.processor import DETECTORS, detector_type, processor_of, read_rule
from kinsight_export.sources.weights import load_whole

OUTPUTS = ("logits", "pred_boxes")


def open_checkpoint(folder: Path, size_wh: tuple[int, int] | None, licence: str) -> DetectorSource:
    """A checkpoint's detector. ConfigError for its folder, ModelError where it cannot be used."""
    from transformers import AutoModelForObjectDetection

    kind = detector_type(folder)
    rule, prepare = read_rule(folder, size_wh, stretch=True)
    model = load_whole(
        folder, partial(AutoModelForObjectDetection.from_pretrained, attn_implementation="eager")
    ).float()
    labels = model.config.id2label
    if sorted(labels) != list(range(len(labels))):
        raise ModelError(f"id2label of {folder} leaves numbers out", "get the checkpoint again")
    return DetectorSource(
        name=f"{folder.name}, a {kind} of transformers",
        licence=licence,
        head="detr",
        rule=rule,
        labels=tuple(str(labels[row]) for row in range(len(labels))),
        module=_LogitsAndBoxes(model, DETECTORS[kind].softmax),
        outputs=OUTPUTS,
        prepare=prepare,
        boxes=_boxes(folder, model, prepare),
        selects=DETECTORS[kind].selects,
    )


class _LogitsAndBoxes(nn.Module):
    """Pictures -> logits of which the sigmoid is the score of a class, and boxes, both of every query."""

    def __init__(self, model: nn.Module, softmax: bool) -> None:
        super().__init__()
        self.model = model
        self.softmax = softmax

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """float32 (1, 3, h, w) -> (1, n, classes), (1, n, 4) centre and size as shares of the picture."""
        found = self.model(pixel_values=pictures)
        logits = found.logits
        if self.softmax:  # the last class is "nothing"; log(p / (1 - p)) without ever dividing
            others = torch.stack([_all_but(logits, column) for column in range(logits.shape[-1] - 1)], dim=-1)
            logits = logits[..., :-1] - others
        return logits, found.pred_boxes


def _all_but(logits: Tensor, column: int) -> Tensor:
    rest = torch.cat([logits[..., :column], logits[..., column + 1 :]], dim=-1)
    return rest.logsumexp(dim=-1)


def _boxes(folder: Path, model: Any, prepare: Any) -> Boxes:
    processor = processor_of(folder)

    def boxes(pixels: Pixels, threshold: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
        with torch.no_grad():
            found = model(pixel_values=torch.from_numpy(prepare(pixels))[None])
        sizes = torch.tensor([pixels.shape[:2]])
        (result,) = processor.post_process_object_detection(found, threshold=threshold, target_sizes=sizes)
        xyxy, scores = (np.asarray(result[key], np.float32) for key in ("boxes", "scores"))
        return xyxy, scores, np.asarray(result["labels"], np.int64)

    return boxes
