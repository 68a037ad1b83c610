"""How well-known families of models want their pictures: one row each; every key can be set otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kinsight.bundle import Preprocess, Resize
from kinsight.bundle.contract import preprocess_keys
from kinsight.errors import ConfigError
from kinsight.tomlread import literal

_PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
_TO_ONE = 1 / 255
_CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

DETECTORS: dict[str, dict[str, Any]] = {
    "yolox": {"colour": "bgr", "scale": 1.0, "resize": "letterbox", "anchor": "top-left", **_PLAIN},
    "yolov8": {"colour": "rgb", "scale": _TO_ONE, "resize": "letterbox", "anchor": "centre", **_PLAIN},
    "end2end": {"colour": "rgb", "scale": _TO_ONE, "resize": "letterbox", "anchor": "centre", **_PLAIN},
    "detr": {"colour": "rgb", "scale": _TO_ONE, "resize": "stretch", **_PLAIN},
}
EMBEDDERS: dict[str, dict[str, Any]] = {
    "clip": {"colour": "rgb", "scale": _TO_ONE, "resize": "stretch", **_CLIP},
    "imagenet": {"colour": "rgb", "scale": _TO_ONE, "resize": "stretch", **_IMAGENET},
    "siglip": {
        "colour": "rgb",
        "scale": _TO_ONE,
        "resize": "stretch",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    },
}
_KEYS = preprocess_keys(literal(Resize))
_OF_A_LETTERBOX = ("anchor", "pad")


def preprocess(row: Mapping[str, Any], size_wh: tuple[int, int], settings: Mapping[str, str]) -> Preprocess:
    """A family's row with some keys set otherwise, as text ("mean": "0.5,0.5,0.5").

    Raises ConfigError for a key or a value that is against the contract of bundle.toml.
    """
    values = {"size_wh": size_wh, **row, **{key: _value(key, text) for key, text in settings.items()}}
    if values["resize"] != "letterbox" and (idle := [key for key in _OF_A_LETTERBOX if key in settings]):
        raise ConfigError(f"{idle[0]} means nothing with resize={values['resize']}", "leave it out")
    return Preprocess(**values)


def _value(key: str, text: str) -> Any:
    if key not in _KEYS:
        raise ConfigError(f"{key} is no setting of a preprocessing", f"choose one of {', '.join(_KEYS)}")
    values = [_plain(part) for part in text.split(",")]
    value, kind = values if len(values) > 1 else values[0], _KEYS[key].kind
    if not kind.fits(value):
        raise ConfigError(f"{key}={text} is no such setting", f"it must be {kind.words}")
    return kind.keep(value)


def _plain(text: str) -> int | float | str:
    """A number where it is one."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
