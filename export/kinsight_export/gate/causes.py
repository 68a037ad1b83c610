"""What a file whose outputs are wrong may suffer from: looked up in its graph, or tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinsight.types import Floats

if TYPE_CHECKING:
    from torch import nn

_WEIGHING = ("Conv", "MatMul", "Gemm")
_SMALLEST = 16  # numbers of a weight that may not all be zero


def cause_of(file: Path, module: nn.Module, agrees_on: Callable[[Callable[[Floats], Floats]], bool]) -> str:
    """A clause that completes "probably ...".

    `agrees_on(change)` says whether the file agrees with its source when its pictures, float32 (n, 3, h, w),
    are changed first.
    """
    import onnx

    graph = onnx.load(str(file)).graph
    if any(node.op_type == "NonMaxSuppression" for node in graph.node):
        return "boxes are suppressed twice: the file holds NonMaxSuppression itself; export it without"
    if agrees_on(lambda pictures: np.ascontiguousarray(pictures[:, ::-1])):
        return "red and blue are swapped inside the file"
    if lost := lost_layer(file, module):
        return lost
    return "a layer was changed on the way: export it again in float32"


def lost_layer(file: Path, module: nn.Module) -> str:
    """A clause about a weight that is zero throughout, where the source has none of that kind; else ""."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(file)).graph
    begun = {tuple(value.shape) for value in module.state_dict().values() if not bool(value.any())}
    weighing = {
        name: node.name for node in graph.node if node.op_type in _WEIGHING for name in node.input[1:]
    }
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.name in weighing and values.ndim >= 2 and values.size >= _SMALLEST:
            shapes = {values.shape, values.shape[::-1]}  # a product may have been turned round
            if not values.any() and not shapes & begun:
                name = _in_words(str(weight.name), str(weighing[weight.name]))
                return f"a layer is lost: {name} holds nothing but zeros"
    return ""


def _in_words(weight: str, node: str) -> str:
    """A weight's own name, or where an exporter numbered it, the place of the node that takes it.

    Of "onnx::MatMul_297" in "/encoder/layers.1/fc2/MatMul": "the weight of encoder.layers.1.fc2".
    """
    place = ".".join(node.strip("/").split("/")[:-1])
    return f"the weight of {place}" if "::" in weight and place else weight
