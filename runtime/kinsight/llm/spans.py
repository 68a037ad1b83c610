"""A tokenised prompt: spans of tokens and of pictures, in the order in which the model reads them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass


@dataclass(frozen=True)
class TextSpan:
    """Tokens that follow each other in a prompt."""

    tokens: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class PictureSpan:
    """A picture, or a tile of one, in a prompt; it lives as long as its Prompt."""

    chunk: int  # address of mtmd's chunk
    tokens: int  # that it takes in the context
    positions: int  # by which it moves the next token on: M-RoPE needs fewer than tokens

    def __len__(self) -> int:
        return self.tokens


Span = TextSpan | PictureSpan


class Prompt:
    """What is to be read, in order."""

    def __init__(self, spans: Sequence[Span], owner: ExitStack | None = None) -> None:
        self.spans = tuple(spans)
        self._close = weakref.finalize(self, owner.close if owner else lambda: None)

    def __len__(self) -> int:
        """Tokens."""
        return sum(map(len, self.spans))

    @property
    def ends_in_text(self) -> bool:
        """Whether there are logits after it: a picture alone gives none."""
        return bool(self.spans) and isinstance(self.spans[-1], TextSpan) and len(self.spans[-1]) > 0

    def close(self) -> None:
        """Gives the pictures' memory back."""
        self._close()
