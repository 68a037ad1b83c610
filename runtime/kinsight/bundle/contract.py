"""The contract of bundle.toml as a table: every key, what its value must be, and whether it must be there."""

from __future__ import annotations

import re
from typing import Any

from kinsight.bundle.parts import Anchor, Colour, Head, Resize, Sees, World
from kinsight.tomlread import (
    ANY_TABLE,
    FLAG,
    Key,
    Kind,
    Table,
    literal,
    number,
    one_of,
    optional,
    several,
    text,
    whole,
)

FORMAT = 1

_LINE = text("a line of text", lambda value: value.strip() and value.isprintable())
_NAME = text(
    "a name of letters, digits, dots, dashes and underscores",
    lambda value: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value),
)
_SHA256 = text("64 lower-case hex digits", lambda value: re.fullmatch("[0-9a-f]{64}", value))
_SHARE = number("a number from 0 to 1", lambda value: 0 <= value <= 1)
_COSINE = number("a number from -1 to 1", lambda value: -1 <= value <= 1)


def _is_curve(value: Any) -> bool:
    if not several(several(_COSINE, 2), least=2).fits(value):
        return False
    similarities, probabilities = (list(column) for column in zip(*value, strict=True))
    rising = similarities == sorted(similarities) and probabilities == sorted(probabilities)
    return rising and probabilities[0] >= 0


_CURVE = Kind(
    "two or more pairs of similarity (-1 to 1) and probability (0 to 1), neither of them ever falling",
    _is_curve,
    several(several(_COSINE)).keep,
)


def preprocess_keys(resize: Kind) -> dict[str, Key]:
    """How a picture becomes an input; `resize` is what the part allows."""
    return {
        "size_wh": Key(several(whole(1, 4096), 2)),
        "colour": Key(literal(Colour)),
        "scale": Key(number("a number above 0", lambda value: value > 0)),
        "mean": Key(several(number("a number", lambda value: True), 3)),
        "std": Key(several(number("a number other than 0", lambda value: value != 0), 3)),
        "resize": Key(resize),
        "anchor": optional(literal(Anchor)),
        "pad": optional(whole(0, 255)),
    }


_HASHED_FILE = {"file": Key(_LINE), "sha256": Key(_SHA256)}

_BUNDLE = Table(
    {
        "format": Key(Kind(str(FORMAT), lambda value: type(value) is int and value == FORMAT)),
        "name": Key(_NAME),
        "version": Key(_LINE),
        "world": Key(literal(World)),
        "licence": Key(_LINE),
    }
)
_VECTORS = Table({**_HASHED_FILE}, required=False)
_DETECTOR = Table(
    {
        **_HASHED_FILE,
        "head": Key(literal(Head)),
        **preprocess_keys(one_of("letterbox", "stretch")),
        "labels": Key(_LINE),
        "score_threshold": Key(_SHARE),
        "iou_threshold": Key(_SHARE),
        "licence": optional(_LINE, ""),
        "classes": _VECTORS,
    }
)
_IMAGE = Table({**_HASHED_FILE, **preprocess_keys(literal(Resize))})
_TEXT = Table({**_HASHED_FILE, "tokenizer": Key(_LINE), "context": Key(whole(1, 65536))}, required=False)
_CALIBRATION = Table(
    {
        "curve": Key(_CURVE),
        "accept_probability": Key(_SHARE),
        "unsure_probability": Key(_SHARE),
        "margin": Key(_SHARE),
        "fitted_on": Key(_LINE),
        "estimated": optional(FLAG, False),
        "gains": optional(several(_SHARE), ()),
    },
    required=False,
)
_EMBEDDER = Table(
    {
        "id": Key(_LINE),
        "dim": Key(whole(1, 65536)),
        "licence": optional(_LINE, ""),
        "image": _IMAGE,
        "text": _TEXT,
        "calibration": _CALIBRATION,
        "cohort": _VECTORS,
    }
)
_FACE_MODEL = Table({**_HASHED_FILE})
_FACES = Table(
    {
        "id": Key(_LINE),
        "dim": Key(whole(1, 65536)),
        "score_threshold": Key(_SHARE),
        "licence": optional(_LINE, ""),
        "detector": _FACE_MODEL,
        "recogniser": _FACE_MODEL,
        "calibration": Table(_CALIBRATION.entries),
    },
    required=False,
)
_LLM = Table(
    {
        **_HASHED_FILE,
        "mmproj": optional(_LINE),
        "mmproj_sha256": optional(_SHA256),
        "sees": Key(literal(Sees)),
        "context": Key(whole(1, 1 << 20)),
        "max_references": Key(whole(0, 64)),
        "image_max_tokens": optional(whole(1, 65536)),
        "stop": Key(several(text())),
        "smoke": Key(_LINE),
        "licence": optional(_LINE, ""),
    },
    required=False,
)
CONTRACT = Table(
    {
        "bundle": _BUNDLE,
        "detector": _DETECTOR,
        "embedder": _EMBEDDER,
        "faces": _FACES,
        "llm": _LLM,
        "parity": optional(ANY_TABLE, {}),
    }
)
