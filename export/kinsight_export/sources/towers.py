"""transformers -> ONNX through optimum's exporter: the towers of an embedder, a file each."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinsight.errors import MissingPackage, ModelError
from kinsight_export.onnx_file import OPSET

if TYPE_CHECKING:
    from torch import nn

CONFIGS = {
    "clip": ("CLIPVisionModelOnnxConfig", "CLIPTextWithProjectionOnnxConfig"),
    "siglip": ("SiglipVisionModelOnnxConfig", "SiglipTextWithProjectionOnnxConfig"),
    "clip_vision_model": ("CLIPVisionModelOnnxConfig", ""),
    "siglip_vision_model": ("SiglipVisionModelOnnxConfig", ""),
    "dinov2": ("Dinov2OnnxConfig", ""),
    "dinov2_with_registers": ("Dinov2OnnxConfig", ""),
}
"""Type of checkpoint -> optimum's class for its tower of pictures, and for that of words where it has one."""


def export_tower(tower: nn.Module, config_class: str, sizes: dict[str, int], out: Path) -> None:
    """Writes a tower with its one input and its one output, whose names it knows; only the batch is free.

    optimum names both towers of a pair in one graph, or gives all hidden states beside the vectors: here its
    class says how to trace the model and what to trace it with, and the tower itself what goes in and out.
    `sizes` are those of the input: "height" and "width", or "sequence_length". ModelError where it fails,
    MissingPackage without optimum.
    """
    import torch

    try:
        from optimum.exporters.onnx import export, model_configs
    except ImportError as error:
        raise MissingPackage(f"optimum is not there ({error})", "pip install 'kinsight[export]'") from None
    kind: Any = getattr(model_configs, config_class)
    name, given = tower.input_name, tower.output_name
    inner = {"inputs": {name: {0: "batch"}}, "outputs": {given: {0: "batch"}}}
    config = type(f"One{config_class}", (kind,), inner)(tower.config, task="feature-extraction")
    logging.getLogger("optimum").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer speaks of every constant
            export(tower, config, out, opset=OPSET, input_shapes={"batch_size": 2, **sizes})
    except (
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        OSError,
        torch.onnx.errors.OnnxExporterError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{out.name} cannot be exported ({reason})", "use another model of the kind"
        ) from error
