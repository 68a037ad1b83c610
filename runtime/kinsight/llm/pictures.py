"""How much of the context a picture takes: known from its size, and never above the bundle's number."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kinsight.errors import ModelError
from kinsight.llm.header import Header
from kinsight.llm.native import failure, library
from kinsight.llm.spans import TextSpan
from kinsight.types import Pixels

if TYPE_CHECKING:
    from kinsight.llm.model import Model

MEND_PICTURE = "use a picture of another size"
_MEND_NUMBER = "set `image_max_tokens` in the bundle's [llm] to what a picture takes"
_GREY = 128
_SIZES_KEPT = 64
_LEAST_SIDE = 64  # pixels: below that a picture is not made smaller
_TILED = "idefics3"


@dataclass(frozen=True)
class PictureCost:
    """Of one picture."""

    encodes: int  # of itself and its tiles
    tokens: int  # in the context, without the few around it


@dataclass(frozen=True)
class Slot:
    """Where a picture, or a tile of one, stands."""

    chunk: int  # address of mtmd's chunk, without pixels
    tokens: int  # that it takes in the context
    positions: int  # by which it moves the next token on: M-RoPE needs fewer than tokens
    row: int  # among the chunks that mtmd makes of the whole picture


class Chunks:
    """What mtmd makes of a picture: texts and pictures in turn; freed with the last that holds it."""

    def __init__(self, address: Any) -> None:
        self._mtmd = library().mtmd
        self._address = address
        self.close = weakref.finalize(self, self._mtmd.mtmd_input_chunks_free, address)

    def __len__(self) -> int:
        return int(self._mtmd.mtmd_input_chunks_size(self._address))

    def __getitem__(self, row: int) -> int:
        """Address of one chunk."""
        return int(self._mtmd.mtmd_input_chunks_get(self._address, row))


@dataclass(frozen=True, eq=False)
class Layout:
    """What stands in a prompt for a picture of one size."""

    chunks: Chunks
    spans: tuple[TextSpan | Slot, ...]
    widest: int  # the picture is padded to be at most so many times as wide as high, or as high as wide
    shrunk: int  # and every side divided by this

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Its pictures and tiles: so many encodes it costs."""
        return tuple(span for span in self.spans if isinstance(span, Slot))

    @property
    def tokens(self) -> int:
        """Of its pictures and tiles, without the few around them."""
        return sum(slot.tokens for slot in self.slots)

    def canvas(self, pixels: Pixels) -> Pixels:
        """The picture as mtmd gets it, uint8 (height, width, 3)."""
        return _shrunk(padded(pixels, self.widest), self.shrunk)


class Layouts:
    """Layouts of every size, found out by asking mtmd about pictures without pixels."""

    def __init__(self, handle: Any, model: Model, most_tokens: int, tiled: bool) -> None:
        """`tiled`: the encoder reads an overview after its tiles, as idefics3 does."""
        self._mtmd = library().mtmd
        self._handle, self._model, self._most, self._tiled = handle, model, most_tokens, tiled
        self._known: OrderedDict[tuple[int, int], Layout] = OrderedDict()
        self._lock = threading.Lock()  # tokens are counted while another thread's answer is computed

    def of(self, pixels: Pixels) -> Layout:
        """The layout of a picture. ModelError where even the smallest takes more than the bundle allows."""
        size = pixels.shape[0], pixels.shape[1]
        with self._lock:
            layout = self._known.pop(size, None) or self._laid_out(*size)
            self._known[size] = layout  # as the newest
            if len(self._known) > _SIZES_KEPT:
                self._known.popitem(last=False)
        return layout

    def _laid_out(self, height: int, width: int) -> Layout:
        layout = next(self._tries(height, width))
        if self._tiled and (len(layout.slots) == 2 or layout.tokens > self._most):
            layout = replace(layout, spans=_overview(layout.spans))
        elif layout.tokens > self._most:
            fitting = (one for one in self._tries(height, width) if one.tokens <= self._most)
            layout = next(fitting, layout)
        if layout.tokens > self._most:
            problem = f"a picture takes {layout.tokens} tokens, but `image_max_tokens` is {self._most}"
            raise ModelError(problem, _MEND_NUMBER)
        self._check_batch(layout)
        return layout

    def _tries(self, height: int, width: int) -> Iterator[Layout]:
        """The picture as it is but for strips, then smaller and smaller, then the same made squarer."""
        for widest in (self._most, 2, 1):
            for shrunk in range(1, 1 + max(1, min(height, width) // _LEAST_SIDE)):
                yield self._layout(height, width, (widest, shrunk))

    def _layout(self, height: int, width: int, fit: tuple[int, int]) -> Layout:
        widest, shrunk = fit
        height, width = (max(1, side // shrunk) for side in padded_size(height, width, widest))
        chunks = self.chunks(width, height, None)
        spans = tuple(self._span(row, chunks[row]) for row in range(len(chunks)))
        return Layout(chunks, spans, widest, shrunk)

    def chunks(self, width: int, height: int, pixels: bytes | None) -> Chunks:
        """Of a picture, or of any of that size where there are no pixels. Raises ModelError."""
        library().errors.clear()
        data = pixels and ctypes.cast(ctypes.c_char_p(pixels), ctypes.POINTER(ctypes.c_uint8))
        bitmap = self._mtmd.mtmd_bitmap_init(width, height, data)
        chunks = Chunks(address := self._mtmd.mtmd_input_chunks_init())
        parts = (ctypes.POINTER(self._mtmd.mtmd_input_part) * 1)(
            ctypes.pointer(self._mtmd.mtmd_input_part(None, bitmap))
        )
        failed = self._mtmd.mtmd_tokenize_from_parts(self._handle, address, parts, 1, False)
        self._mtmd.mtmd_bitmap_free(bitmap)
        if failed:
            raise failure("a picture cannot be given to the language model", MEND_PICTURE)
        return chunks

    def _span(self, row: int, chunk: int) -> TextSpan | Slot:
        if self._mtmd.mtmd_input_chunk_get_type(chunk) == self._mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
            count = ctypes.c_size_t()
            tokens = self._mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
            return TextSpan(tuple(tokens[: count.value]))
        tokens = self._mtmd.mtmd_input_chunk_get_n_tokens(chunk)
        return Slot(chunk, tokens, self._mtmd.mtmd_input_chunk_get_n_pos(chunk), row)

    def _check_batch(self, layout: Layout) -> None:
        for slot in layout.slots:
            whole = self._mtmd.mtmd_decode_use_non_causal(self._handle, slot.chunk)
            if whole and slot.tokens > self._model.batch_tokens:
                problem = f"a picture takes {slot.tokens} tokens at once"
                problem += f", but {self._model.batch_tokens} is the most"
                raise ModelError(problem, _MEND_NUMBER)


def is_tiled(header: Header) -> bool:
    """Whether an encoder cuts a picture into tiles of one size and adds an overview."""
    kinds = (header.values.get(f"clip.{key}projector_type") for key in ("vision.", ""))
    return _TILED in kinds


def most_of_tiles(header: Header, most_tokens: int) -> int:
    """`image_max_tokens` for mtmd, which does not count the overview of a tiled picture."""
    if not is_tiled(header):
        return most_tokens
    side = header.number("clip.vision.image_size") // max(1, header.number("clip.vision.patch_size"))
    overview = (side // max(1, header.number("clip.vision.projector.scale_factor", default=1))) ** 2
    return most_tokens - overview if most_tokens >= 2 * overview else most_tokens


def _overview(spans: Sequence[TextSpan | Slot]) -> tuple[TextSpan | Slot, ...]:
    """A tiled picture's overview with the tokens around it, as transformers writes a picture of one tile."""
    at = max(place for place, span in enumerate(spans) if isinstance(span, Slot))
    before, after = spans[at - 1], spans[at + 1]
    if not isinstance(before, TextSpan) or not isinstance(after, TextSpan):
        return (spans[at],)
    edge = after.tokens[0]
    begin = max((place for place, token in enumerate(before.tokens) if token == edge), default=0)
    return TextSpan(before.tokens[begin:]), spans[at], after


def padded_size(height: int, width: int, widest: int) -> tuple[int, int]:
    """Height and width of a picture after `padded`."""
    least = -(-max(height, width) // widest)
    return max(height, least), max(width, least)


def padded(pixels: Pixels, widest: int) -> Pixels:
    """The picture, grey below or beside it where one side is more than `widest` times the other.

    An encoder of any picture size gives the short side one token at least, so a strip could cost more than
    `image_max_tokens`.
    """
    height, width = padded_size(pixels.shape[0], pixels.shape[1], widest)
    below, beside = height - pixels.shape[0], width - pixels.shape[1]
    if not below and not beside:
        return pixels
    return np.pad(pixels, ((0, below), (0, beside), (0, 0)), constant_values=_GREY)


def _shrunk(pixels: Pixels, times: int) -> Pixels:
    """Every side divided by a whole number, each new pixel the mean of those that it covers."""
    if times == 1:
        return pixels
    height, width = (max(1, side // times) for side in pixels.shape[:2])
    blocks = pixels[: height * times, : width * times].reshape(height, times, width, times, 3)
    mean: Pixels = blocks.mean((1, 3)).round().astype(np.uint8)
    return mean
