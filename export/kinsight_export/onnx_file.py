"""torch -> ONNX: writes one file that every supported ONNX Runtime reads, and proves that it agrees."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from kinsight.config import DeviceConfig
from kinsight.errors import ModelError
from kinsight.session import CPU, Session
from kinsight_export.room import or_room

OPSET = 17
TOLERANCE = 1e-3
_WORKSTATION = DeviceConfig("workstation", (CPU,), threads=0, memory_mb=1024)

Example: TypeAlias = Tensor | tuple[Tensor, ...]
"""One input, or several in the order in which the module takes them; the first axis is the batch."""


@dataclass(frozen=True)
class Names:
    """What the inputs and outputs of a graph are called, in the module's order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    free: Mapping[str, dict[int, str]] = field(default_factory=dict)  # axes beside the batch: {1: "classes"}


def export_onnx(module: nn.Module, example: Example, out: Path, names: Names, dynamic_batch: bool) -> None:
    """Write the module as one ONNX file; all axes are as in the example, but for those that are free.

    The TorchScript exporter, because its files (opset 17, IR 8) run on ONNX Runtime 1.17, where those of the
    newer one (IR 10) do not load, and because it folds batch norms itself. ModelError where it fails.
    """
    batch = {0: "batch"} if dynamic_batch else {}
    free = {name: {**batch, **names.free.get(name, {})} for name in (*names.inputs, *names.outputs)}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls itself deprecated
            torch.onnx.export(
                module.eval(),
                _several(example),
                str(out),
                input_names=list(names.inputs),
                output_names=list(names.outputs),
                dynamic_axes=free,
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError, OSError, torch.onnx.errors.OnnxExporterError) as error:
        reason = " ".join(str(error).split())[:200]
        mend = or_room(error, "rewrite that operation")
        raise ModelError(f"{out.name} cannot be exported ({reason})", mend) from error


def onnx_parity(
    module: nn.Module, inputs: Sequence[Example], file: Path, tolerance: float = TOLERANCE
) -> float:
    """The largest difference between the file and the module, as a share of the tensor's largest value.

    Over all inputs and outputs; the session runs on the CPU. ModelError above the tolerance, or at no input.
    """
    if not inputs:
        raise ModelError(f"{file.name} was compared on no input", "give at least one")
    session = Session(file, _WORKSTATION)
    worst = float(np.max([_difference(module.eval(), _several(example), session) for example in inputs]))
    if not worst <= tolerance:  # nan too
        raise ModelError(
            f"{file.name} differs from its source by {worst:.2g} of the largest value, over {tolerance:.2g}",
            "export in float32, and look for an operation that ONNX has with another meaning",
        )
    return worst


def _several(example: Example) -> tuple[Tensor, ...]:
    return example if isinstance(example, tuple) else (example,)


def _difference(module: nn.Module, example: tuple[Tensor, ...], session: Session) -> float:
    with torch.no_grad():
        wanted = module(*example)
    feeds = {name: tensor.cpu().numpy() for name, tensor in zip(session.inputs, example, strict=True)}
    given = session.run(feeds)
    shares = []
    for (name, ours), source in zip(given.items(), _several(wanted), strict=True):
        theirs = source.detach().float().cpu().numpy()
        if ours.shape != theirs.shape:
            raise ModelError(
                f"{session.file.name} gives {name} as {ours.shape} instead of {theirs.shape}",
                "export with a free batch, or compare with the example's batch",
            )
        shares.append(float(np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), 1e-12)))
    return float(np.max(shares))
