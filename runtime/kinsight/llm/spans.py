"""A tokenised prompt: spans of tokens and of pictures, in the order in which the model reads them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol


@dataclass(frozen=True)
class Cell:
    """One step of what a model reads: a token, or a whole picture or tile."""

    what: int | str  # a token id, or the key of a picture
    positions: int  # by which it moves the next one on
    tokens: int  # that it takes


@dataclass(frozen=True)
class TextSpan:
    """Tokens that follow each other in a prompt."""

    tokens: tuple[int, ...]
    kept: bool = field(default=False, compare=False)  # the state after it is wanted again

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One a token."""
        return tuple(Cell(token, 1, 1) for token in self.tokens)


class Encodable(Protocol):
    """A picture that can be encoded."""

    def chunk(self, row: int) -> int:
        """Address of one of the chunks that mtmd makes of it, with pixels."""


@dataclass(frozen=True)
class PictureSpan:
    """A picture, or a tile of one, in a prompt; it lives as long as its Prompt."""

    chunk: int  # address of mtmd's chunk, without pixels
    tokens: int  # that it takes in the context
    positions: int  # by which it moves the next token on: M-RoPE needs fewer than tokens
    key: str  # of what is seen: equal keys have equal embeddings; behind the last "/" the chunk's row
    source: Encodable = field(compare=False)

    def __len__(self) -> int:
        return self.tokens

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One: a picture is read whole or not at all."""
        return (Cell(self.key, self.positions, self.tokens),)


Span = TextSpan | PictureSpan


class Prompt:
    """What is to be read, in order."""

    def __init__(self, spans: Sequence[Span], owner: ExitStack | None = None) -> None:
        self.spans = tuple(_merged(spans))
        self._close = weakref.finalize(self, owner.close if owner else lambda: None)

    def __len__(self) -> int:
        """Tokens."""
        return sum(map(len, self.spans))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All steps, in order."""
        return tuple(cell for span in self.spans for cell in span.cells)

    @property
    def anchor(self) -> int:
        """Steps after which the state is kept: up to a text that asks for it, or to the last picture."""
        ends = accumulate(len(span.cells) for span in self.spans)
        rows = list(zip(self.spans, ends, strict=True))
        kept = [end for span, end in rows if _is_kept(span)]
        pictures = [end for span, end in rows if isinstance(span, PictureSpan)]
        return max(kept or pictures, default=0)

    @property
    def ends_in_text(self) -> bool:
        """Whether there are logits after it: a picture alone gives none."""
        return bool(self.spans) and isinstance(self.spans[-1], TextSpan) and len(self.spans[-1]) > 0

    def close(self) -> None:
        """Gives the pictures' memory back."""
        self._close()


def _is_kept(span: Span) -> bool:
    return isinstance(span, TextSpan) and span.kept


def _merged(spans: Sequence[Span]) -> Iterator[Span]:
    """Texts that follow each other as one, so that the model reads them at once; up to one that is kept."""
    tokens: tuple[int, ...] = ()
    for span in spans:
        if isinstance(span, TextSpan):
            tokens += span.tokens
            if not span.kept:
                continue
        if tokens:
            yield TextSpan(tokens, _is_kept(span))
        tokens = ()
        if isinstance(span, PictureSpan):
            yield span
    if tokens:
        yield TextSpan(tokens)
