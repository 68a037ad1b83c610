"""The preprocessing of a transformers checkpoint: read from its processor's config, run by its processor."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinsight.bundle import Preprocess, Resize
from kinsight.errors import ConfigError, ModelError
from kinsight.types import Floats, Pixels
from kinsight_export.sources.kinds import Prepare

CONFIG = "preprocessor_config.json"
_AGAIN = "get it again"
_MOST = 4096  # pixels a side, as in bundle.toml
_PLAIN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def read_rule(folder: Path, size_wh: tuple[int, int] | None, stretch: bool) -> tuple[Preprocess, Prepare]:
    """(the rule of bundle.toml, the library's own preparation at that size) of a checkpoint.

    `size_wh` replaces the size of the config, where the device needs one size for all pictures; `stretch`
    gives up the crop or the kept proportions, as crops of things are best seen whole.
    ConfigError where there is no config, or one that a bundle cannot say.
    """
    config = _config(folder)
    size = size_wh or _size(config, folder)
    crops = _switch(config, "do_center_crop", "crop_size") and not stretch
    mean, std = _PLAIN
    if _switch(config, "do_normalize", "image_mean"):
        mean, std = _three(config, "image_mean"), _three(config, "image_std")
    if 0 in std:
        raise ConfigError(f"image_std in {CONFIG} is {list(std)}, and nothing is divided by 0", _AGAIN)
    factor = _number(config, "rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    resize: Resize = "shortest-side-centre-crop" if crops else "stretch"
    rule = Preprocess(size, "rgb", factor, mean, std, resize)
    return rule, _prepare(folder, rule)


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {CONFIG}, so nobody knows how it wants its pictures",
            "copy it from where the checkpoint came from",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error})", _AGAIN) from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path} holds no settings", _AGAIN)
    return config


def _switch(config: Mapping[str, Any], key: str, else_by: str) -> bool:
    return bool(config.get(key, else_by in config))


def _three(config: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    values = config.get(key)
    if not isinstance(values, list) or len(values) != 3 or not all(map(_is_number, values)):
        raise ConfigError(f"{key} in {CONFIG} is {values!r}, not three numbers", _AGAIN)
    first, second, third = (float(value) for value in values)
    return first, second, third


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key, default)
    if not _is_number(value) or value == 0:
        raise ConfigError(f"{key} in {CONFIG} is {value!r}, not a number other than 0", _AGAIN)
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _size(config: Mapping[str, Any], folder: Path) -> tuple[int, int]:
    """Width and height of the input."""
    crop = config.get("crop_size") if _switch(config, "do_center_crop", "crop_size") else None
    size = crop or config.get("size")
    sides: tuple[object, object] = size, size
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        sides = size.get("width", edge), size.get("height", edge)
    width, height = sides
    if (
        isinstance(width, int)
        and isinstance(height, int)
        and min(width, height) >= 1
        and max(width, height) <= _MOST
    ):
        return width, height
    raise ConfigError(
        f"{folder / CONFIG} gives no size of pictures from 1 to {_MOST}", "pass one with --size WIDTH,HEIGHT"
    )


def processor_of(folder: Path) -> Any:
    """The checkpoint's own processor. ModelError where transformers has none for it."""
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(str(folder), use_fast=False, local_files_only=True)
    except (ValueError, OSError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"transformers makes no processor of {folder / CONFIG} ({reason})",
            "get it again, or use a checkpoint that is supported",
        ) from None


def _prepare(folder: Path, rule: Preprocess) -> Prepare:
    processor = processor_of(folder)
    settings = {
        key: value
        for key, value in _at_the_size(rule).items()
        if not key.startswith("do_") or hasattr(processor, key)
    }

    def prepare(pixels: Pixels) -> Floats:
        prepared = processor(images=pixels, return_tensors="np", **settings)["pixel_values"][0]
        return np.asarray(prepared, np.float32)

    return prepare


def _at_the_size(rule: Preprocess) -> dict[str, Any]:
    """What the processor is told so that it makes pictures of the rule's size."""
    width, height = rule.size_wh
    if rule.resize == "stretch":
        return {"size": {"height": height, "width": width}, "do_center_crop": False, "do_pad": False}
    crop = {"height": height, "width": width}
    return {"size": {"shortest_edge": min(width, height)}, "crop_size": crop, "do_center_crop": True}


@dataclass(frozen=True)
class DetectorKind:
    """What sets a type of detector apart."""

    softmax: bool  # over the classes and "nothing"; else each class by itself
    selects: bool  # it picks its queries from the picture


DETECTORS = {
    "detr": DetectorKind(softmax=True, selects=False),
    "conditional_detr": DetectorKind(softmax=False, selects=False),
    "yolos": DetectorKind(softmax=True, selects=False),
    "rt_detr": DetectorKind(softmax=False, selects=True),
    "rt_detr_v2": DetectorKind(softmax=False, selects=True),
    "d_fine": DetectorKind(softmax=False, selects=True),
}


def detector_type(folder: Path) -> str:
    """`model_type` of a detector that is known here, before any library is loaded; ModelError for another."""
    kind = checkpoint_type(folder)
    if kind not in DETECTORS:
        raise ModelError(
            f"{folder} holds a model of the type {kind or 'nothing'}, no detector that is known here",
            f"use one of {', '.join(DETECTORS)}, or export it to ONNX yourself and pass that file",
        )
    return kind


def checkpoint_type(folder: Path) -> str:
    """`model_type` of a checkpoint's config. ConfigError where the folder holds none."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(
            f"{folder} is no checkpoint, it has no config.json that can be read",
            "name a folder with config.json, weights and processor",
        ) from None
    return str(config.get("model_type", "")) if isinstance(config, dict) else ""
