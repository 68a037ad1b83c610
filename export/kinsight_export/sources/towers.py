"""transformers -> ONNX through optimum's exporter: the towers of an embedder, a file each."""

from __future__ import annotations

import logging
import warnings
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinsight.errors import MissingPackage, ModelError
from kinsight_export.onnx_file import OPSET
from kinsight_export.room import or_room

if TYPE_CHECKING:
    from torch import nn

CONFIGS = {
    "clip": ("CLIPVisionModelOnnxConfig", "CLIPTextWithProjectionOnnxConfig"),
    "siglip": ("SiglipVisionModelOnnxConfig", "SiglipTextWithProjectionOnnxConfig"),
    "clip_vision_model": ("CLIPVisionModelOnnxConfig", ""),
    "siglip_vision_model": ("SiglipVisionModelOnnxConfig", ""),
    "dinov2": ("ViTOnnxConfig", ""),
}
"""Type of checkpoint -> optimum's class for its tower of pictures, and for that of words where it has one.

Its class for DINOv2 traces pictures of the size that the checkpoint's processor has on the disk, so not that.
"""


def export_tower(
    tower: nn.Module,
    config_class: str,
    out: Path,
    size_wh: tuple[int, int] | None = None,
    context: int | None = None,
) -> None:
    """Writes a tower with its one input and its one output, whose names it knows; only the batch is free.

    optimum names both towers of a pair in one graph, or gives all hidden states beside the vectors: here its
    class says how to trace the model and what to trace it with, and the tower itself what goes in and out.
    `size_wh` is that of pictures, which optimum would take from the model's config; `context` are the tokens
    of a text, 16 to optimum. ModelError where it fails, MissingPackage without optimum.
    """
    import torch

    try:
        from optimum.exporters.onnx import export, model_configs
    except ImportError as error:
        raise MissingPackage(f"optimum is not there ({error})", "pip install 'kinsight[export]'") from None
    kind: Any = getattr(model_configs, config_class)
    name, given = tower.input_name, tower.output_name
    inner = {"inputs": {name: {0: "batch"}}, "outputs": {given: {0: "batch"}}}
    shapes = {"batch_size": 2, **({"sequence_length": context} if context else {})}
    described = copy(tower.config)
    if size_wh:
        described.image_size = size_wh[::-1]
    config = type(f"One{config_class}", (kind,), inner)(described, task="feature-extraction")
    logging.getLogger("optimum").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer speaks of every constant
            export(tower, config, out, opset=OPSET, input_shapes=shapes)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        OSError,
        torch.onnx.errors.OnnxExporterError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        mend = or_room(error, "use another model of the kind")
        raise ModelError(f"{out.name} cannot be exported ({reason})", mend) from error
