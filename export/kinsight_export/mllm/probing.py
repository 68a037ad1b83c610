"""The process in which a GGUF pair is tried: `python -m kinsight_export.mllm.probing JSON`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from kinsight.bundle import LlmPart
from kinsight.config import DeviceConfig
from kinsight.errors import KinsightError
from kinsight.llm import Picture, Text, Turn
from kinsight_export.mllm.device import Device, Tile

_SIDE = 96  # pixels


def main() -> None:
    """Prints one line of JSON: what the pair does, or the problem and the mend."""
    values = json.loads(sys.argv[1])
    part = LlmPart(
        Path(values["file"]),
        "",
        Path(values["mmproj"]),
        None,
        "photo",
        values["context"],
        0,
        values["image_max_tokens"],
        (),
        "",
    )
    try:
        print(json.dumps(_tried(part)))
    except KinsightError as error:
        print(json.dumps({"problem": error.problem, "mend": error.mend}))


def _tried(part: LlmPart) -> dict[str, object]:
    y, x = np.mgrid[0:_SIDE, 0:_SIDE]
    picture = Picture(np.stack([2 * x, 2 * y, (x * y) // 48], axis=2).astype(np.uint8))
    with Device(part, DeviceConfig("workstation", (), threads=1, memory_mb=1 << 20)) as device:
        words = device.words
        turns = [Turn("user", (Text("a"), picture, Text("What is this?")))]
        reading = device.read(device.template.parts(turns))
        seen = [row for row, item in enumerate(reading.items) if isinstance(item, Tile)]
        before, after = (_tokens(reading.items[row]) for row in (seen[0] - 1, seen[-1] + 1))
        return {
            "has_template": words.chat_template is not None,
            "end": words.eos,
            "marker": [words.name(token) for token in (before[-1], after[0])],
            "picture_tokens": sum(len(tile.embeddings) for tile in reading.tiles),
        }


def _tokens(item: tuple[int, ...] | Tile) -> tuple[int, ...]:
    return item if isinstance(item, tuple) else ()


if __name__ == "__main__":
    main()
