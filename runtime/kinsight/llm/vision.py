"""The picture encoder: mtmd tokenises text and pictures together and turns pictures into embeddings."""

from __future__ import annotations

import ctypes
import hashlib
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kinsight.errors import ModelError
from kinsight.llm.blobs import Blobs
from kinsight.llm.model import Model
from kinsight.llm.native import failure, library
from kinsight.llm.spans import PictureSpan, Prompt, Span, TextSpan
from kinsight.llm.turns import Control, Part, Picture
from kinsight.llm.vocabulary import utf8
from kinsight.types import Floats, Pixels

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_MEND = "restore the bundle, or see to `mmproj` and `image_max_tokens` in its [llm]"
_MEND_PICTURE = "use a picture of another size"
_GREY = 128
_YES, _NO = b"yes", b"no"
_FLAT = 0.05


class VisionEncoder:
    """A picture encoder that fits a model; born ready."""

    def __init__(self, part: LlmPart, model: Model, device: DeviceConfig, kept: Blobs, identity: str) -> None:
        """`kept` holds embeddings; `identity` is of everything that they depend on but the picture.

        Raises ModelError where the mmproj file does not load, does not fit the model or does not see.
        """
        self._mtmd = library().mtmd
        self._model = model
        self._kept, self._identity = kept, identity
        params = self._mtmd.mtmd_context_params_default()
        params.use_gpu = device.gpu_layers != 0
        params.n_threads = model.threads
        params.image_max_tokens = part.image_max_tokens
        library().errors.clear()
        self._widest = part.image_max_tokens or 1  # times as wide as high, or as high as wide
        self.handle = self._mtmd.mtmd_init_from_file(str(part.mmproj).encode(), model.handle, params)
        if not self.handle:
            raise failure(f"{part.mmproj and part.mmproj.name} cannot be loaded", _MEND)
        self.close = weakref.finalize(self, self._mtmd.mtmd_free, self.handle)
        if not self._mtmd.mtmd_support_vision(self.handle):
            self.close()
            raise ModelError(f"{part.mmproj and part.mmproj.name} has no vision encoder", _MEND)

    def prompt(self, parts: Sequence[Part], count_only: bool = False) -> Prompt:
        """Tokenises parts, each on its own; `count_only` leaves the pixels out: not a prompt to be read.

        Raises ModelError where a picture cannot be prepared.
        """
        library().errors.clear()
        with ExitStack() as scratch, ExitStack() as kept:
            chunks = self._mtmd.mtmd_input_chunks_init()
            kept.callback(self._mtmd.mtmd_input_chunks_free, chunks)
            inputs = [self._input(part, f"#{row}", count_only, scratch) for row, part in enumerate(parts)]
            pointer = ctypes.POINTER(self._mtmd.mtmd_input_part)
            array = (pointer * len(inputs))(*map(ctypes.pointer, inputs))
            if self._mtmd.mtmd_tokenize_from_parts(self.handle, chunks, array, len(inputs), False) != 0:
                raise failure("a picture cannot be given to the language model", _MEND_PICTURE)
            addresses = [
                self._mtmd.mtmd_input_chunks_get(chunks, index)
                for index in range(self._mtmd.mtmd_input_chunks_size(chunks))
            ]
            return Prompt(self._spans(addresses), kept.pop_all())

    def _input(self, part: Part, row: str, count_only: bool, scratch: ExitStack) -> Any:
        if isinstance(part, Picture):
            picture = padded(part.pixels, self._widest)
            height, width = picture.shape[:2]
            data = picture.tobytes()
            pixels = ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))
            bitmap = self._mtmd.mtmd_bitmap_init(width, height, None if count_only else pixels)
            scratch.callback(self._mtmd.mtmd_bitmap_free, bitmap)
            name = "" if count_only else hashlib.sha256(data).hexdigest()
            self._mtmd.mtmd_bitmap_set_id(bitmap, f"{width}x{height}:{name}{row}".encode())
            return self._mtmd.mtmd_input_part(None, bitmap)
        data = utf8(part.text)
        text = self._mtmd.mtmd_input_text(data, len(data), False, isinstance(part, Control))
        return self._mtmd.mtmd_input_part(ctypes.pointer(text), None)

    def _spans(self, chunks: Sequence[int]) -> list[Span]:
        spans: list[Span] = []
        tiles: dict[str, list[PictureSpan]] = {}  # of every picture
        for chunk in chunks:
            span = self._span(chunk)
            if isinstance(span, PictureSpan):
                own = tiles.setdefault(self._mtmd.mtmd_input_chunk_get_id(chunk).decode(), [])
                twin = own[0].key if len(own) == 1 and own[0].tokens == span.tokens else None
                span = replace(span, key=f"{span.key}/{len(own)}", twin=twin)
                own.append(span)
            spans.append(span)
        # an overview and one tile show the same; of more tiles none does
        single = {own[1].key for own in tiles.values() if len(own) == 2}
        return [
            span if isinstance(span, TextSpan) or span.key in single else replace(span, twin=None)
            for span in spans
        ]

    def _span(self, chunk: int) -> Span:
        if self._mtmd.mtmd_input_chunk_get_type(chunk) == self._mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
            count = ctypes.c_size_t()
            tokens = self._mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
            return TextSpan(tuple(tokens[: count.value]))
        tokens = self._mtmd.mtmd_input_chunk_get_n_tokens(chunk)
        whole = self._mtmd.mtmd_decode_use_non_causal(self.handle, chunk)
        if whole and tokens > self._model.batch_tokens:
            problem = f"a picture takes {tokens} tokens at once, but {self._model.batch_tokens} is the most"
            raise ModelError(problem, "set `image_max_tokens` in the bundle's [llm] to what a picture takes")
        key = self._mtmd.mtmd_input_chunk_get_id(chunk).decode().partition("#")[0]
        return PictureSpan(chunk, tokens, self._mtmd.mtmd_input_chunk_get_n_pos(chunk), key)

    def embeddings(self, span: PictureSpan) -> Floats:
        """float32 (tokens, model width) of a picture, encoded only where it was not before."""
        data = self._known(span.key)
        if data is None and span.twin and self._kept.get(self._twins_alike) == _YES:
            data = self._known(span.twin)
        if data is None:
            data = self.encode(span).tobytes()
            self._kept.put(self._name(span.key), data)
            if span.twin and (other := self._known(span.twin)) and not _is_flat(data, span.tokens):
                self._kept.put(self._twins_alike, _YES if data == other else _NO)
        return np.frombuffer(data, np.float32).reshape(span.tokens, -1)

    def _known(self, key: str) -> bytes | None:
        return self._kept.get(self._name(key))

    def _name(self, key: str) -> str:
        return f"picture {self._identity} {key}"

    @property
    def _twins_alike(self) -> str:
        """Name of what was found out by encoding both: whether an overview equals its only tile."""
        return f"twins {self._identity}"

    def encode(self, span: PictureSpan) -> Floats:
        """float32 (tokens, model width): a picture's embeddings."""
        if self._mtmd.mtmd_encode_chunk(self.handle, span.chunk) != 0:
            raise failure("a picture cannot be encoded", _MEND_PICTURE)
        shape = span.tokens, self._model.embedding_width
        return np.array(np.ctypeslib.as_array(self._mtmd.mtmd_get_output_embd(self.handle), shape))

    def read(self, span: PictureSpan, embeddings: Floats, position: int) -> None:
        """Reads a picture's embeddings into the model's context, from a position on."""
        no_callback = self._mtmd.mtmd_helper_post_decode_callback()
        after = library().llama.llama_pos()
        failed = self._mtmd.mtmd_helper_decode_image_chunk(
            self.handle,
            self._model.context,
            span.chunk,
            embeddings.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            position,
            0,
            self._model.batch_tokens,
            ctypes.byref(after),
            no_callback,
            None,
        )
        if failed:
            raise failure("a picture cannot be read by the language model", _MEND_PICTURE)


def padded(pixels: Pixels, widest: int) -> Pixels:
    """The picture, grey below or beside it where one side is more than `widest` times the other.

    An encoder of any picture size gives the short side one token at least, so a strip could cost more than
    `image_max_tokens`.
    """
    least = -(-max(pixels.shape[:2]) // widest)
    below, beside = (max(0, least - side) for side in pixels.shape[:2])
    if not below and not beside:
        return pixels
    return np.pad(pixels, ((0, below), (0, beside), (0, 0)), constant_values=_GREY)


def _is_flat(embeddings: bytes, tokens: int) -> bool:
    """Whether all tokens of a picture look alike, so that nothing follows from two that are equal."""
    rows = np.frombuffer(embeddings, np.float32).reshape(tokens, -1)
    return tokens < 2 or bool(np.ptp(rows, axis=0).max() < _FLAT)
