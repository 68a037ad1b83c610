"""What goes into the language model and what comes out of it: turns, options, usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kinsight.types import Pixels

Role = Literal["system", "user", "assistant"]
Ended = Literal["", "stop", "length", "repetition"]
"""Why an answer ended: "" is not yet, or cancelled."""


@dataclass(frozen=True)
class Text:
    """Words of the user or the store: always plain text, never a control token. Tokenised on its own."""

    text: str
    kept: bool = field(default=False, compare=False)
    """Other prompts begin as this one does up to its end, so the model's state there is kept for them."""


@dataclass(frozen=True)
class Control:
    """Words of the chat template, in which control tokens count."""

    text: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture for a model that sees."""

    pixels: Pixels  # uint8 (height, width, 3), RGB, 0..255

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != "uint8":
            raise ValueError(f"expected uint8 (height, width, 3), got {dtype} {shape}")


Part = Text | Control | Picture


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: Role
    parts: tuple[Text | Picture, ...]


@dataclass(frozen=True)
class Generation:
    """How to answer; the defaults are greedy and repeatable."""

    max_tokens: int = 256
    stop: tuple[str, ...] = ()  # an answer ends before any of these
    banned: tuple[str, ...] = ()  # words or names that no answer may contain, in any case
    temperature: float = 0.0  # 0: always the likeliest token
    seed: int | None = None  # of the sampling at a temperature above 0; None: another answer every time
    schema: Mapping[str, Any] | None = None  # a JSON schema that the answer keeps to; None: plain text

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.temperature < 0:
            raise ValueError(f"expected max_tokens >= 1 and temperature >= 0, got {self}")


@dataclass(frozen=True)
class Usage:
    """What one answer cost."""

    tokens: Mapping[str, int] = field(default_factory=dict)  # prompt, cached, answer
    timings_ms: Mapping[str, float] = field(
        default_factory=dict
    )  # first_token, encode, prefill, decode; milliseconds
    encodes: int = 0  # pictures and tiles that had to be encoded
    withheld: tuple[str, ...] = ()  # banned names that the model would have said
