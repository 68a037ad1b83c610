"""ONNX Runtime: one model file, loaded and ready to run on this device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from kinsight.config import DeviceConfig
from kinsight.errors import ModelError

CPU = "CPUExecutionProvider"
Shape = tuple[int | None, ...]
"""None where an axis is free."""

_ERRORS_ONLY = 3
_FAILURES: tuple[type[Exception], ...] = (
    ValueError,
    RuntimeError,
    *(
        kind
        for kind in vars(native).values()
        if isinstance(kind, type) and issubclass(kind, Exception)  # ONNX Runtime's errors have no common base
    ),
)
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")
_ROOM = "memory is short: close other programs, or use a smaller model"
_MEND = "restore the bundle, or export the model again with `kinsight-export`"


class Session:
    """A loaded ONNX graph; born ready."""

    def __init__(self, file: Path, device: DeviceConfig) -> None:
        """Raises ModelError where ONNX Runtime cannot load the file."""
        self.file = file
        providers, self.reason = choose_providers(device.providers)
        try:
            self._session = _start(file, device, providers)
        except _FAILURES as error:
            if providers == [CPU]:
                raise _not_loaded(file, error) from error
            self._session = self._on_the_cpu(file, device, error)
        if idle := [name for name in providers if name not in self._session.get_providers()]:
            self.reason += f"; could not be started: {', '.join(idle)}"
        self.inputs = {node.name: _shape(node.shape) for node in self._session.get_inputs()}
        self.outputs = {node.name: _shape(node.shape) for node in self._session.get_outputs()}
        self.says: dict[str, str] = dict(
            self._session.get_modelmeta().custom_metadata_map
        )  # of itself: a licence, ...

    def _on_the_cpu(self, file: Path, device: DeviceConfig, error: Exception) -> onnxruntime.InferenceSession:
        """What no other provider would take: a graph, its options or the driver may be at fault."""
        try:
            session = _start(file, device, [CPU])
        except _FAILURES as also:
            raise _not_loaded(file, also) from also
        self.reason += f"; on the CPU alone, as the others refused {file.name} ({_first_line(error)})"
        return session

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs the graph once; output name -> array. Raises ModelError where it refuses the feeds."""
        names = list(self.outputs)
        try:
            arrays = self._session.run(names, dict(feeds))
        except _FAILURES as error:
            raise ModelError(f"{self.file.name} failed ({_first_line(error)})", _mend(error)) from error
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}


def _start(file: Path, device: DeviceConfig, providers: Sequence[str]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.log_severity_level = _ERRORS_ONLY
    options.enable_mem_pattern = False  # it keeps a second block of memory for every number of crops
    settings = [dict(device.provider_options.get(name, {})) for name in providers]
    return onnxruntime.InferenceSession(
        str(file), options, providers=list(providers), provider_options=settings
    )


def _not_loaded(file: Path, error: Exception) -> ModelError:
    return ModelError(f"{file.name} cannot be loaded ({_first_line(error)})", _mend(error))


def _mend(error: Exception) -> str:
    return _ROOM if any(words in str(error) for words in _NO_MEMORY) else _MEND


def choose_providers(wanted: Sequence[str]) -> tuple[list[str], str]:
    """The wanted execution providers that this ONNX Runtime has, CPU always last, and the reason in words."""
    there = onnxruntime.get_available_providers()
    chosen = [name for name in wanted if name in there and name != CPU]
    missing = [name for name in wanted if name not in there]
    reason = ", ".join([*chosen, CPU]) + ": as the device config asks, the CPU last"
    if missing:
        reason += f"; not in this ONNX Runtime: {', '.join(missing)}"
    return [*chosen, CPU], reason


def _shape(shape: Sequence[object]) -> Shape:
    return tuple(axis if isinstance(axis, int) and axis > 0 else None for axis in shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
