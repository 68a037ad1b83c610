"""A GGUF pair in llama.cpp, step by step as `kinsight.llm` runs it: tokens, embeddings, all logits."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinsight.bundle import LlmPart
from kinsight.closing import Closing
from kinsight.config import DeviceConfig
from kinsight.errors import ModelError
from kinsight.llm import Part, Picture, Turn
from kinsight.llm.blobs import Blobs
from kinsight.llm.model import MOST_OUTPUTS, Model
from kinsight.llm.native import failure, library
from kinsight.llm.spans import PictureSpan, Prompt, TextSpan
from kinsight.llm.template import ChatTemplate
from kinsight.llm.vision import VisionEncoder
from kinsight.llm.vocabulary import Vocabulary
from kinsight.types import Floats

_SEEN = 1 << 28  # bytes of embeddings that are kept


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture, or a tile of one, where it stands in a prompt."""

    picture: int  # of which picture of the prompt it is, from 0
    embeddings: Floats  # float32 (tokens, width)


@dataclass(frozen=True, eq=False)
class Reading:
    """What a prompt was read as, and what was thought at it."""

    items: tuple[tuple[int, ...] | Tile, ...]  # tokens and pictures, in their order
    logits: Floats  # float32 (tokens, vocabulary): after each token of text, in their order

    @property
    def tiles(self) -> list[Tile]:
        """Its pictures."""
        return [item for item in self.items if isinstance(item, Tile)]


def album() -> Blobs:
    """Keeps pictures' embeddings in memory, so that no encoder looks at one twice."""
    return Blobs(None, _SEEN, 0)


class Device(Closing):
    """A GGUF model, with its picture encoder where there is one; a context manager that gives memory back."""

    def __init__(
        self, part: LlmPart, config: DeviceConfig, adapter: Path | None = None, seen: Blobs | None = None
    ) -> None:
        """With a LoRA adapter's GGUF beside it, if given. ModelError where a file or the memory won't do.

        `seen` has pictures' embeddings, by the file that made them: shared by models with one encoder.
        """
        self._model = Model(part, config)
        if adapter:
            _set_adapter(self._model, adapter)
        self.words: Vocabulary = self._model.vocabulary
        self._eyes = (
            VisionEncoder(part, self._model, config, album() if seen is None else seen, str(part.mmproj))
            if part.mmproj is not None
            else None
        )
        words = self.words
        self.template = ChatTemplate(words.chat_template, words.bos, words.eos, words.adds_bos)

    def close(self) -> None:
        """Gives all memory back."""
        if self._eyes:
            self._eyes.close()
        self._model.close()

    @property
    def picture_width(self) -> int:
        """Numbers that stand for one row of a picture."""
        return self._model.embedding_width

    def tokens(self, turns: Sequence[Turn], picture: int) -> list[int]:
        """Token ids of a prompt, `picture` standing for every embedding of one."""
        with self._prompt(self.template.parts(turns)) as prompt:
            return [token for span in prompt.spans for token in _tokens(span, picture)]

    def embeddings(self, picture: Picture) -> Floats:
        """float32 (tokens, hidden): what the encoder makes of a picture, of its first tile if it has several.

        ModelError where the pair has no picture encoder.
        """
        with self._prompt([picture]) as prompt:
            return next(self._encoded(span) for span in prompt.spans if isinstance(span, PictureSpan))

    def look(self, picture: Picture) -> None:
        """Encodes a picture, known or not: work for a clock."""
        with self._prompt([picture]) as prompt:
            next(self._sight.encode(span) for span in prompt.spans if isinstance(span, PictureSpan))

    def logits(self, turns: Sequence[Turn]) -> Floats:
        """float32 (vocabulary,): after a prompt."""
        last: Floats = self.read(self.template.parts(turns)).logits[-1]
        return last

    def read(self, parts: Sequence[Part]) -> Reading:
        """Reads a prompt from the beginning. ModelError where it does not fit."""
        self._model.clear()
        position = 0
        items: list[tuple[int, ...] | Tile] = []
        logits: list[Floats] = []
        seen: dict[str, int] = {}  # key of a picture -> its number
        with self._prompt(parts) as prompt:
            for span in prompt.spans:
                if isinstance(span, TextSpan):
                    logits += self._decode(span.tokens, position)
                    items.append(span.tokens)
                    position += len(span)
                else:
                    tile = Tile(seen.setdefault(_picture_of(span), len(seen)), self._encoded(span))
                    self._sight.read(span, tile.embeddings, position)
                    items.append(tile)
                    position += span.positions
        return Reading(tuple(items), np.stack(logits))

    def speak(self, parts: Sequence[Part], count: int) -> None:
        """Reads parts and says so many tokens after them, whatever they are: work for a clock."""
        self._model.clear()
        with self._prompt(parts) as prompt:
            tokens = [token for span in prompt.spans for token in _tokens(span, 0)]
        self._model.decode(tokens, 0)
        for row in range(count):
            self._model.decode([int(self._model.logits().argmax())], len(tokens) + row)

    def _decode(self, tokens: Sequence[int], position: int) -> Iterator[Floats]:
        """float32 (vocabulary,): the logits after each of these tokens."""
        for start in range(0, len(tokens), MOST_OUTPUTS):
            some = tokens[start : start + MOST_OUTPUTS]
            self._model.decode(some, position + start, len(some))
            yield from (np.array(self._model.logits(row)) for row in range(len(some)))

    @property
    def _sight(self) -> VisionEncoder:
        if self._eyes is None:
            raise ModelError("this model sees no pictures", "give it an mmproj file")
        return self._eyes

    def _encoded(self, span: PictureSpan) -> Floats:
        return self._sight.embeddings(span)

    @contextmanager
    def _prompt(self, parts: Sequence[Part]) -> Iterator[Prompt]:
        plain = [piece for part in parts for piece in self.words.plain(part)]
        if any(isinstance(part, Picture) for part in plain):
            prompt = self._sight.prompt(plain)
        else:
            words = [part for part in plain if not isinstance(part, Picture)]
            prompt = Prompt([TextSpan(tuple(token for part in words for token in self.words.tokens(part)))])
        try:
            yield prompt
        finally:
            prompt.close()


def _set_adapter(model: Model, file: Path) -> None:
    """llama.cpp frees it with its model."""
    llama = library().llama
    library().errors.clear()
    adapter = llama.llama_adapter_lora_init(model.handle, str(file).encode())
    if not adapter:
        raise failure(f"{file.name} cannot be put beside the model", "convert it anew from an adapter of it")
    adapters, scales = (type(adapter) * 1)(adapter), (ctypes.c_float * 1)(1.0)
    if llama.llama_set_adapters_lora(model.context, adapters, 1, scales) != 0:
        raise failure(f"{file.name} cannot be used", "convert it anew from an adapter of this model")


def _tokens(span: TextSpan | PictureSpan, picture: int) -> Sequence[int]:
    return span.tokens if isinstance(span, TextSpan) else [picture] * len(span)


def _picture_of(span: PictureSpan) -> str:
    """The part of a tile's key that all tiles of a picture share."""
    return span.key.rpartition("/")[0]
