"""Raw outputs of a detector that selects in its graph: what it selects from, and what it selected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kinsight.detect import Detector
from kinsight.errors import ModelError
from kinsight.session import Session
from kinsight.types import Floats
from kinsight_export.gate.compare import Array, tensor_difference
from kinsight_export.trial import WORKSTATION

SMALLEST_SCORE = 0.01
"""What is less likely than this is nothing; runtimes differ by 1e-7 in how they take a sigmoid."""


def dense_outputs(detector: Detector, inputs: Sequence[Floats], shape: tuple[int, ...]) -> list[Array]:
    """The last tensor of that shape, (1, n, 4 + classes), inside a file, for every input (3, h, w).

    The file's own graph, with that tensor as an output more. ModelError where it has none of that shape.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(str(detector.part.file)))
    fitting = [
        value
        for value in model.graph.value_info
        if tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim) == shape
    ]
    if not fitting:
        raise ModelError(f"{detector.part.file.name} holds no tensor of the shape {shape}", "export it again")
    made_by = {name: row for row, node in enumerate(model.graph.node) for name in node.output}
    last = max(fitting, key=lambda value: made_by[value.name])
    model.graph.output.append(last)
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "dense.onnx"
        onnx.save(model, str(file))
        session = Session(file, WORKSTATION)
        return [session.run(detector.feeds(chw))[last.name] for chw in inputs]


def selected_difference(rows: Array, dense: Array) -> float:
    """How far selected rows (1, k, 6) are from the best of `dense` (1, n, 4 + classes).

    The larger of two: the scores against the k best, and every row against the box that it may be, with its
    score in its class; as shares of the largest box number and the largest score. Of equals any may be there.
    inf where a number is not finite or a class is none.
    """
    found, boxes, scores = rows[0], dense[0][:, :4], dense[0][:, 4:]
    if not (np.isfinite(found).all() and np.isfinite(dense).all()):
        return float("inf")
    best = np.sort(scores.ravel())[::-1][: len(found)]
    apart = tensor_difference(np.sort(found[:, 4])[::-1], best, SMALLEST_SCORE)
    box_scale, score_scale = np.abs(boxes).max(), max(float(scores.max()), SMALLEST_SCORE)
    for row in found:
        column = int(row[5])
        if not 0 <= column < scores.shape[1]:
            return float("inf")
        off = np.abs(boxes - row[:4]).max(axis=1) / box_scale
        apart = max(apart, float(np.maximum(off, np.abs(scores[:, column] - row[4]) / score_scale).min()))
    return apart
