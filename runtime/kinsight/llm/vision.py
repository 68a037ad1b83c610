"""The picture encoder: mtmd lays pictures out in a prompt and turns them into embeddings, each once."""

from __future__ import annotations

import ctypes
import hashlib
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from kinsight.errors import ModelError
from kinsight.llm.blobs import Blobs
from kinsight.llm.header import read_header
from kinsight.llm.model import Model
from kinsight.llm.native import failure, library
from kinsight.llm.pictures import MEND_PICTURE, Chunks, Layout, Layouts, is_tiled, most_of_tiles
from kinsight.llm.spans import PictureSpan, Prompt, Span, TextSpan
from kinsight.llm.turns import Part, Picture
from kinsight.types import Floats, Pixels

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_MEND = "restore the bundle, or see to `mmproj` and `image_max_tokens` in its [llm]"


class VisionEncoder:
    """A picture encoder that fits a model; born ready."""

    def __init__(self, part: LlmPart, model: Model, device: DeviceConfig, kept: Blobs, identity: str) -> None:
        """`kept` holds embeddings; `identity` is of everything that they depend on but the picture.

        Raises ModelError where the mmproj file does not load, does not fit the model or does not see.
        """
        assert part.mmproj is not None
        self._mtmd = library().mtmd
        self._model = model
        self._kept, self._identity = kept, identity
        self.encodes = 0  # pictures and tiles that were not known
        header, most = read_header(part.mmproj), part.image_max_tokens or 1
        params = self._mtmd.mtmd_context_params_default()
        params.use_gpu = device.gpu_layers != 0
        params.n_threads = model.threads
        params.image_max_tokens = most_of_tiles(header, most)
        library().errors.clear()
        self.handle = self._mtmd.mtmd_init_from_file(str(part.mmproj).encode(), model.handle, params)
        if not self.handle:
            raise failure(f"{part.mmproj.name} cannot be loaded", _MEND)
        self.layouts = Layouts(self.handle, model, most, is_tiled(header))
        self.close = weakref.finalize(self, self._mtmd.mtmd_free, self.handle)
        if not self._mtmd.mtmd_support_vision(self.handle):
            self.close()
            raise ModelError(f"{part.mmproj.name} has no vision encoder", _MEND)

    def prompt(self, parts: Sequence[Part]) -> Prompt:
        """Tokenises parts, each on its own. Raises ModelError where a picture cannot be given."""
        with ExitStack() as scratch:
            spans: list[Span] = []
            for part in parts:
                if isinstance(part, Picture):
                    spans += self._spans(part, scratch)
                else:
                    spans.append(self._model.vocabulary.span(part))
            return Prompt(spans, scratch.pop_all())

    def _spans(self, picture: Picture, scratch: ExitStack) -> list[Span]:
        layout = self.layouts.of(picture.pixels)
        source = Source(self.layouts, layout, picture.pixels)
        scratch.callback(source.close)
        return [
            span
            if isinstance(span, TextSpan)
            else PictureSpan(span.chunk, span.tokens, span.positions, f"{source.key}/{span.row}", source)
            for span in layout.spans
        ]

    def embeddings(self, span: PictureSpan) -> Floats:
        """float32 (tokens, model width) of a picture, encoded only where it was not before."""
        name = f"picture {self._identity} {span.key}"
        data = self._kept.get(name)
        if data is None:
            data = self.encode(span).tobytes()
            self._kept.put(name, data)
        return np.frombuffer(data, np.float32).reshape(span.tokens, -1)

    def encode(self, span: PictureSpan) -> Floats:
        """float32 (tokens, model width): a picture's embeddings."""
        self.encodes += 1
        if self._mtmd.mtmd_encode_chunk(self.handle, span.source.chunk(int(span.key.rpartition("/")[2]))):
            raise failure("a picture cannot be encoded", MEND_PICTURE)
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
            raise failure("a picture cannot be read by the language model", MEND_PICTURE)


class Source:
    """A picture on its way to the encoder: mtmd scales it and cuts it into tiles when the first is wanted."""

    def __init__(self, layouts: Layouts, layout: Layout, pixels: Pixels) -> None:
        self._layouts, self._layout = layouts, layout
        self._canvas = np.ascontiguousarray(layout.canvas(pixels))
        self._chunks: Chunks | None = None
        height, width = self._canvas.shape[:2]
        self.key = f"{width}x{height}:{hashlib.sha256(self._canvas.data).hexdigest()}"

    def chunk(self, row: int) -> int:
        """Address of one of mtmd's chunks, with pixels. Raises ModelError."""
        if self._chunks is None:
            height, width = self._canvas.shape[:2]
            self._chunks = self._layouts.chunks(width, height, self._canvas.tobytes())
        return self._chunks[row]

    def close(self) -> None:
        """Gives the scaled picture's memory back."""
        self._chunks = None
