"""Quantised files of one ONNX model: static INT8 for convolutions, dynamic or weights alone for products."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from inspect import signature
from io import StringIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kinsight.errors import MissingPackage, ModelError
from kinsight.session import Session
from kinsight_export.trial import WORKSTATION

Feeds = Mapping[str, NDArray[Any]]
_FIRST_CONVOLUTIONS = 3  # what few bits lose there is lost to everything after
_LAST_CONVOLUTIONS = 6  # of a detector: what they give is boxes and scores
_ACTIVATIONS = ("Clip", "Relu")  # one that follows a convolution becomes a part of it
_PER_CHANNEL = 13  # the opset from which on a scale can be one of each channel
_PERCENTILE = 99.99  # of the activations that a range holds
_FEW = 16  # pictures for histograms, which take long
_BLOCK = 32  # weights that share a scale
_EIGHT_BITS = 4  # ONNX Runtime's number for products that are taken in eight bits
_TABLE = "Gather"  # as a kind of layer: rows of a table of weights, one a word
_FAILURES = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError)


def make_candidates(file: Path, feeds: Sequence[Feeds], scratch: Path) -> Iterator[tuple[str, Path]]:
    """(name, file in `scratch`) of every way that fits the model's layers; `feeds` are of real pictures.

    What the quantiser refuses, or what does not run then, is left out; there is none where no layer can be
    quantised. ModelError where `file` cannot be prepared, MissingPackage without what the export half needs.
    """
    ready = _prepared(file, scratch)
    kinds = _layers(ready)
    logging.getLogger().setLevel(logging.ERROR)
    for name, make in _ways(ready, feeds, kinds).items():
        out = scratch / f"{name.replace(' ', '-').replace(',', '')}.onnx"
        try:
            with warnings.catch_warnings(), redirect_stdout(StringIO()):
                warnings.simplefilter("ignore")
                make(out)
            Session(out, WORKSTATION).run(feeds[0])
        except (*_FAILURES, ModelError):
            continue
        yield name, out


def name_as_it_is(file: Path) -> str:
    """ "fp32", or "as it is" where weights of the file are in fewer bits; MissingPackage without onnx."""
    try:
        import onnx
    except ImportError as error:
        raise MissingPackage(f"quantising needs {error.name}", "pip install 'kinsight[export]'") from None

    kind = onnx.TensorProto
    few = {kind.FLOAT16, kind.BFLOAT16, kind.INT8, kind.UINT8}
    types = {weight.data_type for weight in onnx.load(str(file)).graph.initializer}
    return "as it is" if types & few else "fp32"


def _prepared(file: Path, scratch: Path) -> Path:
    """Shapes inferred and constants folded, as the quantiser wants it. ModelError where that fails."""
    try:
        from onnxruntime.quantization import quant_pre_process
    except ImportError as error:
        raise MissingPackage(f"quantising needs {error.name}", "pip install 'kinsight[export]'") from None
    import onnx
    from onnx import version_converter

    out = scratch / "prepared.onnx"
    model = onnx.load(str(file))
    opset = next(row.version for row in model.opset_import if row.domain in ("", "ai.onnx"))
    try:
        if opset < _PER_CHANNEL:
            file = scratch / "converted.onnx"
            onnx.save(version_converter.convert_version(model, _PER_CHANNEL), str(file))
        quant_pre_process(str(file), str(out), skip_symbolic_shape=True)
    except (*_FAILURES, OSError, AssertionError) as error:
        raise ModelError(f"{file.name} cannot be prepared ({str(error)[:200]})", "export it again") from error
    named = onnx.load(str(out))
    for row, node in enumerate(named.graph.node):
        node.name = f"{row} {node.op_type}"  # layers are left out by their names
    onnx.save(named, str(out))
    return out


def _layers(file: Path) -> Counter[str]:
    """How many convolutions and products with weights there are, and tables of which rows are taken."""
    import onnx

    graph = onnx.load(str(file)).graph
    weights = {weight.name: weight for weight in graph.initializer}
    found = Counter(
        node.op_type
        for node in graph.node
        if node.op_type in ("Conv", "MatMul", "Gemm") and weights.keys() & set(node.input[1:])
    )
    tables = [weights[n.input[0]] for n in graph.node if n.op_type == _TABLE and n.input[0] in weights]
    found[_TABLE] = sum(t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2 for t in tables)
    return found


def _ways(file: Path, feeds: Sequence[Feeds], kinds: Counter[str]) -> dict[str, Callable[[Path], None]]:
    """Name -> what writes it to a path."""
    ways: dict[str, Callable[[Path], None]] = {}
    products = kinds["MatMul"] + kinds["Gemm"]
    if kinds["Conv"] > 1 or (kinds["Conv"] and not products):  # the one of a transformer cuts the picture
        convolutions, end = _convolutions_and_end(file)
        first, last = convolutions[:_FIRST_CONVOLUTIONS], convolutions[-_LAST_CONVOLUTIONS:]
        few = feeds[:_FEW]
        ways["int8 static, min-max"] = lambda out: _static(file, out, feeds, "MinMax", end)
        ways["int8 static, percentile"] = lambda out: _static(file, out, few, "Percentile", end)
        if kinds["Conv"] > 2 * (_FIRST_CONVOLUTIONS + _LAST_CONVOLUTIONS):
            ways["int8 static, all but the first"] = lambda out: _static(
                file, out, few, "Percentile", [*end, *first]
            )
            ways["int8 static, all but the ends"] = lambda out: _static(
                file, out, few, "Percentile", [*end, *first, *last]
            )
    if products > 1:
        ways["int8 dynamic"] = lambda out: _dynamic(file, out, ("MatMul", "Gemm"))
        ways["8-bit weights"] = lambda out: _blocks(file, out, 8)
        ways["4-bit weights"] = lambda out: _blocks(file, out, 4)
    if kinds[_TABLE]:
        ways["int8 dynamic, tables too"] = lambda out: _dynamic(file, out, ("MatMul", "Gemm", _TABLE))
    return ways


def _convolutions_and_end(file: Path) -> tuple[list[str], list[str]]:
    """(names of the convolutions, names of what none comes after): the end makes boxes or vectors of them."""
    import onnx

    nodes = onnx.load(str(file)).graph.node
    convolutions = [node.name for node in nodes if node.op_type == "Conv"]
    before: set[str] = set()  # tensors that a convolution is made of
    end = []
    for node in reversed(nodes):
        if node.op_type == "Conv" or before & set(node.output):
            before |= set(node.input)
        elif node.op_type not in _ACTIVATIONS:
            end.append(node.name)
    return convolutions, end


def _static(file: Path, out: Path, feeds: Sequence[Feeds], method: str, left: list[str]) -> None:
    """All layers but those that are `left`: a convolution alone would be cut into eight bits before the
    activation behind it throws the half of them away.

    The ranges are those of all layers, so they are kept beside `out` for the next file of that method, where
    this ONNX Runtime can do that.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        """The pictures, one after the other."""

        def __init__(self) -> None:
            self.rest = iter(feeds)

        def get_next(self) -> Feeds | None:
            """The next one, None at the end."""
            return next(self.rest, None)

    kept = {"calibration_cache_path": out.with_name(f"{method}.json")}
    knows = signature(quantize_static).parameters.keys() >= kept.keys()
    quantize_static(
        str(file),
        str(out),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=left,
        calibrate_method=getattr(CalibrationMethod, method),
        extra_options={"CalibPercentile": _PERCENTILE},
        **(kept if knows else {}),
    )


def _dynamic(file: Path, out: Path, kinds: Sequence[str]) -> None:
    """All layers of these kinds; ONNX Runtime does not run products with a row of weights."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(file)).graph
    rows = {weight.name for weight in graph.initializer if len(weight.dims) == 1}
    quantize_dynamic(
        str(file),
        str(out),
        list(kinds),
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[n.name for n in graph.node if n.op_type == "MatMul" and rows & set(n.input)],
    )


def _blocks(file: Path, out: Path, bits: int) -> None:
    """Weights in blocks with a scale each; what they are multiplied with is cut into eight bits too."""
    try:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as error:
        raise MissingPackage(f"this needs {error.name}", "pip install 'kinsight[export]'") from None
    import onnx

    quantizer = MatMulNBitsQuantizer(
        onnx.load(str(file)), bits=bits, block_size=_BLOCK, is_symmetric=True, accuracy_level=_EIGHT_BITS
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(out))
