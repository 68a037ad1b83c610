"""What a GGUF pair says of itself: its context, what a picture costs, whether it sees several."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinsight.bundle import LlmPart, Sees
from kinsight.errors import ModelError
from kinsight.llm.header import Header, read_header

_ONE_PICTURE = ("mlp", "ldp", "ldpv2", "adapter", "cogvlm")
"""Projectors of models that were taught with one picture a question."""
_USUAL = 256  # tokens a picture where an encoder takes any number and the device says none
_LEAST = {"lfm2": 96, "qwen2vl_merger": 8, "qwen2.5vl_merger": 8, "qwen3vl_merger": 8}
"""Tokens below which an encoder cannot be asked to go, in tools/mtmd/clip.cpp, and what rounding adds."""
_ANSWER, _A_REFERENCE = (
    512,
    96,
)  # tokens kept for facts, question and answer; and for the words of a reference
_MOST_REFERENCES = 3
_SECONDS = 600
_MEND = "use another conversion of this model, made by llama.cpp's converter of about the same age"


@dataclass(frozen=True)
class Costs:
    """How the pictures of a pair are to be used."""

    sees: Sees
    image_max_tokens: int
    max_references: int
    context: int  # tokens
    reason: str  # in words, for all of these


def costs_of(llm: Path, mmproj: Path, context: int, device_limit: int | None) -> Costs:
    """From both files' headers, within what the device allows. ModelError where one is no such file."""
    model, eyes = read_header(llm), read_header(mmproj)
    projector = str(
        eyes.values.get("clip.vision.projector_type") or eyes.values.get("clip.projector_type") or ""
    )
    if not projector:
        raise ModelError(
            f"{mmproj.name} is no picture encoder", "give the mmproj file that belongs to the model"
        )
    longest = model.number("context_length", default=context)
    tokens = _tokens_a_picture(eyes, projector, device_limit)
    room = (min(context, longest) - _ANSWER - tokens) // (tokens + _A_REFERENCE)
    references = 0 if projector in _ONE_PICTURE else max(0, min(_MOST_REFERENCES, room))
    return Costs(
        "photo+references" if references else "photo",
        tokens,
        references,
        min(context, longest),
        f"{projector}: {tokens} tokens a picture, {references} references in {min(context, longest)} tokens",
    )


def _tokens_a_picture(eyes: Header, projector: str, device_limit: int | None) -> int:
    side = eyes.number("clip.vision.image_size") // max(1, eyes.number("clip.vision.patch_size"))
    if projector == "idefics3":
        return (side // max(1, eyes.number("clip.vision.projector.scale_factor", default=2))) ** 2
    if projector == "gemma3":
        return (side // max(1, eyes.number("clip.vision.projector.scale_factor", default=4))) ** 2
    if projector in _ONE_PICTURE:
        return side**2
    return max(_LEAST.get(projector, 1), min(_USUAL, device_limit or _USUAL))


@dataclass(frozen=True)
class Probed:
    """What a pair turned out to do, in a process of its own."""

    has_template: bool
    end: str  # the text of the token that ends a turn
    marker: tuple[str, str]  # what llama.cpp writes before and after a picture
    picture_tokens: int


def probe(part: LlmPart) -> Probed:
    """Loads a pair and has it say one token about a picture, in a process of its own.

    llama.cpp ends the whole process at some pairs (a vocabulary without the tokens around pictures, say).
    ModelError where that happens, or where it refuses.
    """
    values: dict[str, Any] = {
        "file": str(part.file),
        "mmproj": str(part.mmproj),
        "context": part.context,
        "image_max_tokens": part.image_max_tokens,
    }
    command = [sys.executable, "-m", "kinsight_export.mllm.probing", json.dumps(values)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{part.file.name} says nothing for {_SECONDS} s", _MEND) from None
    lines = done.stdout.strip().splitlines()
    said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    if done.returncode == 0 and "problem" not in said and said:
        return Probed(said["has_template"], said["end"], tuple(said["marker"]), said["picture_tokens"])
    if "problem" in said:
        raise ModelError(said["problem"], said["mend"])
    last = (done.stderr.strip().splitlines() or ["no word"])[-1]
    raise ModelError(f"llama.cpp breaks down at {part.file.name} with its mmproj ({last[:200]})", _MEND)
