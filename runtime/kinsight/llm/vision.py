"""The picture encoder: mtmd tokenises text and pictures together and turns pictures into embeddings."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from kinsight.errors import ModelError
from kinsight.llm.model import Model
from kinsight.llm.native import failure, library
from kinsight.llm.spans import PictureSpan, Prompt, Span, TextSpan
from kinsight.llm.turns import Control, Part, Picture
from kinsight.llm.vocabulary import utf8
from kinsight.types import Pixels

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_MEND = "restore the bundle, or see to `mmproj` and `image_max_tokens` in its [llm]"
_MEND_PICTURE = "use a picture of another size"
_GREY = 128


class VisionEncoder:
    """A picture encoder that fits a model; born ready."""

    def __init__(self, part: LlmPart, model: Model, device: DeviceConfig) -> None:
        """Raises ModelError where the mmproj file does not load, does not fit the model or does not see."""
        self._mtmd = library().mtmd
        self._model = model
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
            inputs = [self._input(part, count_only, scratch) for part in parts]
            pointer = ctypes.POINTER(self._mtmd.mtmd_input_part)
            array = (pointer * len(inputs))(*map(ctypes.pointer, inputs))
            if self._mtmd.mtmd_tokenize_from_parts(self.handle, chunks, array, len(inputs), False) != 0:
                raise failure("a picture cannot be given to the language model", _MEND_PICTURE)
            addresses = [
                self._mtmd.mtmd_input_chunks_get(chunks, index)
                for index in range(self._mtmd.mtmd_input_chunks_size(chunks))
            ]
            spans = [self._span(address) for address in addresses]
            return Prompt(spans, kept.pop_all())

    def _input(self, part: Part, count_only: bool, scratch: ExitStack) -> Any:
        if isinstance(part, Picture):
            picture = padded(part.pixels, self._widest)
            height, width = picture.shape[:2]
            data = picture.tobytes()
            pixels = ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))
            bitmap = self._mtmd.mtmd_bitmap_init(width, height, None if count_only else pixels)
            scratch.callback(self._mtmd.mtmd_bitmap_free, bitmap)
            return self._mtmd.mtmd_input_part(None, bitmap)
        data = utf8(part.text)
        text = self._mtmd.mtmd_input_text(data, len(data), False, isinstance(part, Control))
        return self._mtmd.mtmd_input_part(ctypes.pointer(text), None)

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
        return PictureSpan(chunk, tokens, self._mtmd.mtmd_input_chunk_get_n_pos(chunk))

    def encode(self, span: PictureSpan) -> Any:
        """A picture's embeddings: a pointer to float32 (tokens, model width), valid until the next encode."""
        if self._mtmd.mtmd_encode_chunk(self.handle, span.chunk) != 0:
            raise failure("a picture cannot be encoded", _MEND_PICTURE)
        return self._mtmd.mtmd_get_output_embd(self.handle)

    def read(self, span: PictureSpan, embeddings: Any, position: int) -> None:
        """Reads a picture's embeddings into the model's context, from a position on."""
        no_callback = self._mtmd.mtmd_helper_post_decode_callback()
        after = library().llama.llama_pos()
        failed = self._mtmd.mtmd_helper_decode_image_chunk(
            self.handle,
            self._model.context,
            span.chunk,
            embeddings,
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
