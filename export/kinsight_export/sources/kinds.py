"""What an exporter and the gate must know of a source model; every library's reader makes one of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kinsight.bundle import Head, Preprocess
from kinsight.types import ClassVectors, Floats, Pixels

if TYPE_CHECKING:
    from torch import nn

Prepare: TypeAlias = Callable[[Pixels], Floats]
"""uint8 (h, w, 3) RGB -> float32 (3, height, width), as the library itself prepares a picture."""
Boxes: TypeAlias = Callable[[Pixels, float], tuple[Floats, Floats, NDArray[np.int64]]]
"""A photo and a score threshold -> (float32 (n, 4) xyxy in pixels of the photo, float32 (n,) scores, int64
(n,) rows of the labels), as the library itself finds them, before any suppression across classes."""

Write: TypeAlias = Callable[[Path], None]
"""Writes a tower as one ONNX file; ModelError where it cannot be exported."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What a detector is to look for that can be told it in vectors."""

    labels: tuple[str, ...]  # none: the model's own
    texts: Callable[[Sequence[str]], Floats]  # n labels -> float32 (n, d), unit length
    embedder: str  # the id of the embedder whose text tower that is
    as_input: bool = False  # the file takes them with every picture; else they are baked into it


@dataclass(frozen=True, eq=False)
class DetectorSource:
    """A detector in the library that it comes from."""

    name: str  # in words, for reports
    licence: str
    head: Head
    rule: Preprocess
    labels: tuple[str, ...]
    module: nn.Module  # float32 (1, 3, h, w), and (1, n, d) where it takes classes -> its outputs
    outputs: tuple[str, ...]
    prepare: Prepare
    boxes: Boxes
    selects: bool = False  # each row of its outputs is one of a selection, whose order may change
    dense: nn.Module | None = (
        None  # the same before an end2end selection -> (1, n, 4 + labels): corners, scores
    )
    classes: ClassVectors | None = None  # of its labels, where they are an input


@dataclass(frozen=True, eq=False)
class TextSource:
    """The text tower of an embedder in the library that it comes from."""

    module: nn.Module  # int64 (n, context) ids -> (n, dim)
    write: Write
    context: int  # tokens
    tokenise: Callable[[Sequence[str]], NDArray[np.int64]]  # the library's own: texts -> (n, context)
    save: Callable[[Path], None]  # writes tokenizer.json


@dataclass(frozen=True, eq=False)
class EmbedderSource:
    """An embedder in the library that it comes from."""

    name: str  # in words, for reports
    id: str
    licence: str
    dim: int
    rule: Preprocess
    image: nn.Module  # float32 (n, 3, h, w) -> (n, dim)
    write: Write  # the tower of pictures
    prepare: Prepare
    text: TextSource | None = None
