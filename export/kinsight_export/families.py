"""How well-known families of models want their pictures: one row each; every key can be set otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from kinsight.bundle import Preprocess
from kinsight.bundle.parts import Anchor, Colour, Resize
from kinsight.errors import ConfigError

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
_CHOICES = {"colour": get_args(Colour), "resize": get_args(Resize), "anchor": get_args(Anchor)}


def preprocess(row: Mapping[str, Any], size_wh: tuple[int, int], settings: Mapping[str, str]) -> Preprocess:
    """A family's row with some keys set otherwise, as text ("mean": "0.5,0.5,0.5").

    Raises ConfigError for a key or a value that no preprocessing has.
    """
    return Preprocess(
        **{"size_wh": size_wh, **row, **{key: _value(key, text) for key, text in settings.items()}}
    )


def _value(key: str, text: str) -> Any:
    try:
        if key in _CHOICES and text in _CHOICES[key]:
            return text
        if key == "size_wh":
            width, height = text.split(",")
            return int(width), int(height)
        if key in ("mean", "std"):
            red, green, blue = text.split(",")
            return float(red), float(green), float(blue)
        if key == "scale":
            return float(text)
        if key == "pad":
            return int(text)
    except ValueError:
        pass
    raise ConfigError(
        f"{key}={text} is no setting of a preprocessing",
        "use size_wh=W,H, colour, scale, mean=R,G,B, std=R,G,B, resize, anchor or pad, as in bundle.toml",
    )
