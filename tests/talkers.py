"""Tiny language models, loaded, for the tests of the llm room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinsight.bundle import LlmPart, Sees
from kinsight.config import DeviceConfig, KvType
from kinsight.llm import Generation, Llm, Picture, Text, Turn, load_llm
from tiny_gguf import ASSISTANT, END, make_text_gguf

NEEDS_LLAMA_CPP = [
    pytest.mark.llm,
    pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"),
]
CONTEXT = 1024
IMAGE_MAX_TOKENS = 16
HELLO = [Turn("user", (Text("Hello"),))]
SENTENCE = {
    ASSISTANT: [" Lala", " Ann", " cat"],
    " Lala": [" is"],
    " Ann": [" is"],
    " is": [" a"],
    " a": [" dog", " cat"],
    " dog": ["."],
    ".": [END],
}
"""Says "Lala is a dog." to everything."""


def device(kv_type: KvType = "f16", flash_attention: bool = False) -> DeviceConfig:
    """One thread: tiny models are slower with more."""
    return DeviceConfig("test", (), 1, 4000, None, 0, kv_type, flash_attention)


def part(
    file: Path, mmproj: Path | None = None, sees: Sees = "nothing", stop: tuple[str, ...] = ()
) -> LlmPart:
    """The [llm] of a bundle."""
    most = IMAGE_MAX_TOKENS if mmproj else None
    return LlmPart(file, "", mmproj, None, sees, CONTEXT, 3, most, stop, "")


def talker(
    folder: Path, script: Mapping[str, Sequence[str]] = SENTENCE, stop: tuple[str, ...] = (), **made: Any
) -> Llm:
    """A loaded model that follows a script; `made` goes to `make_text_gguf`."""
    return load_llm(part(make_text_gguf(folder / "llm.gguf", script, **made), stop=stop), device())


def say(llm: Llm, **options: Any) -> str:
    """What a model answers to "Hello"; `options` are those of `Generation`."""
    return "".join(llm.generate(HELLO, Generation(**options)))


def picture(seed: int, shape: tuple[int, int] = (32, 32)) -> Picture:
    """Noise, (height, width)."""
    return Picture(np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8))
