"""What goes wrong in exports, done on purpose: a layer zeroed, colours swapped, boxes suppressed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def zeroed(source: Path, out: Path, kinds: tuple[str, ...] = ("Conv", "MatMul", "Gemm")) -> Path:
    """The largest weight of a layer is zero throughout."""
    model = onnx.load(str(source))
    weights = _weights(model, kinds)
    return _changed(model, max(weights, key=lambda weight: np.prod(weight.dims)), np.zeros_like, out)


def swapped_inside(source: Path, out: Path) -> Path:
    """The first convolution takes blue for red."""
    model = onnx.load(str(source))
    first = next(weight for weight in _weights(model, ("Conv",)) if weight.dims[1] == 3)
    return _changed(model, first, lambda values: np.ascontiguousarray(values[:, ::-1]), out)


def suppressed_inside(source: Path, out: Path, iou: float = 0.2) -> Path:
    """A head (1, 4 + classes, n) that suppresses boxes itself, as an export with NMS does."""
    model = onnx.load(str(source))
    graph, name = model.graph, model.graph.output[0].name
    numbers, count = (axis.dim_value for axis in graph.output[0].type.tensor_type.shape.dim[1:])
    for node in graph.node:
        node.output[:] = ["dense" if output == name else output for output in node.output]
    constants = {
        "sizes": np.array([4, numbers - 4]),
        "most": np.array([count]),
        "iou": np.array([iou], np.float32),
        "least": np.array([0.0], np.float32),
        "column": np.array([2]),
        "none": np.zeros(count, np.float32),
        "one": np.array(1, np.float32),
        "last": np.array([1]),
    }
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    rows = [
        ("Split", ["dense", "sizes"], ["boxes", "scores"], {"axis": 1}),
        ("Transpose", ["boxes"], ["rows"], {"perm": [0, 2, 1]}),
        ("ReduceMax", ["scores"], ["best"], {"axes": [1], "keepdims": 1}),
        ("NonMaxSuppression", ["rows", "best", "most", "iou", "least"], ["kept"], {"center_point_box": 1}),
        ("Gather", ["kept", "column"], ["indices"], {"axis": 1}),
        ("Squeeze", ["indices", "last"], ["flat"], {}),
        ("Shape", ["flat"], ["many"], {}),
        ("Expand", ["one", "many"], ["ones"], {}),
        ("ScatterElements", ["none", "flat", "ones"], ["mask"], {}),
        ("Mul", ["scores", "mask"], ["left"], {}),
        ("Concat", ["boxes", "left"], [name], {"axis": 1}),
    ]
    graph.node.extend(helper.make_node(kind, ins, outs, **more) for kind, ins, outs, more in rows)
    onnx.save(model, str(out))
    return out


def no_numbers(source: Path, out: Path, which: tuple[int, int] = (0, 0), above: float = -1e9) -> Path:
    """One output, from a column of its second axis on, is NaN for pictures whose mean is greater."""
    model = onnx.load(str(source))
    graph, (output, column) = model.graph, which
    name, shape = graph.output[output].name, graph.output[output].type.tensor_type.shape
    for node in graph.node:
        node.output[:] = ["sound" if each == name else each for each in node.output]
    spoil = np.zeros((1, shape.dim[1].dim_value, 1), np.float32)
    spoil[:, column:] = np.nan
    constants = {"above": np.float32(above), "spoil": spoil, "whole": np.zeros_like(spoil)}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value), key) for key, value in constants.items()
    )
    graph.node.extend(
        [
            helper.make_node("ReduceMean", [graph.input[0].name], ["mean"], keepdims=0),
            helper.make_node("Greater", ["mean", "above"], ["bright"]),
            helper.make_node("Where", ["bright", "spoil", "whole"], ["added"]),
            helper.make_node("Add", ["sound", "added"], [name]),
        ]
    )
    onnx.save(model, str(out))
    return out


def deaf(source: Path, out: Path) -> Path:
    """A detector that is told what to look for, and looks for one thing of its own whatever it is told."""
    model = onnx.load(str(source))
    graph = model.graph
    dim = graph.input[1].type.tensor_type.shape.dim[2].dim_value
    for node in graph.node:
        node.input[:] = ["own" if name == "classes" else name for name in node.input]
    constants = {"nothing": np.zeros((), np.float32), "something": np.full(dim, dim**-0.5, np.float32)}
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    graph.node.insert(0, helper.make_node("Mul", ["classes", "nothing"], ["blank"]))
    graph.node.insert(1, helper.make_node("Add", ["blank", "something"], ["own"]))
    onnx.save(model, str(out))
    return out


def kept_elsewhere(source: Path, out: Path) -> Path:
    """ONNX with its weights in another file."""
    onnx.save(onnx.load(str(source)), str(out), save_as_external_data=True, size_threshold=0)
    return out


def _weights(model: onnx.ModelProto, kinds: tuple[str, ...]) -> list[TensorProto]:
    names = {name for node in model.graph.node if node.op_type in kinds for name in node.input[1:]}
    return [weight for weight in model.graph.initializer if weight.name in names and len(weight.dims) > 1]


def _changed(
    model: onnx.ModelProto,
    weight: TensorProto,
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    out: Path,
) -> Path:
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight)), weight.name))
    onnx.save(model, str(out))
    return out
