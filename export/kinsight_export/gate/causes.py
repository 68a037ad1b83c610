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
    if dead := _dead_weights(graph, module):
        return f"a layer is lost: {dead} holds nothing but zeros"
    return "a layer was changed on the way: export it again in float32"


def _dead_weights(graph: object, module: nn.Module) -> str:
    """The name of a weight that is zero throughout, where the source has none of that kind."""
    from onnx import numpy_helper

    begun = {tuple(value.shape) for value in module.state_dict().values() if not bool(value.any())}
    weighing = {
        name for node in getattr(graph, "node", ()) if node.op_type in _WEIGHING for name in node.input[1:]
    }
    for weight in getattr(graph, "initializer", ()):
        values = numpy_helper.to_array(weight)
        if weight.name in weighing and values.ndim >= 2 and values.size >= _SMALLEST:
            shapes = {values.shape, values.shape[::-1]}  # a product may have been turned round
            if not values.any() and not shapes & begun:
                return str(weight.name)
    return ""
