"""One GGUF model in memory: its vocabulary, and a context that turns tokens into logits."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from kinsight.llm.native import failure, library, physical_cores
from kinsight.llm.turns import Control, Part, Text
from kinsight.types import Floats

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_MEND_FILE = "restore the bundle, or make the GGUF file again"
_MEND_MEMORY = "choose a smaller bundle, or change [llm] in the device config"
_LEAST_BATCH = 512  # tokens
_SPACE = "\u2581"  # as SentencePiece writes it


class Model:
    """A loaded model with an empty context; born ready, one user at a time."""

    def __init__(self, part: LlmPart, device: DeviceConfig) -> None:
        """Raises ModelError where the file or the memory does not do, MissingPackage without llama-cpp-python."""
        self._llama = library().llama
        self.threads = device.threads or physical_cores()
        self.batch_tokens = min(part.context, max(_LEAST_BATCH, part.image_max_tokens or 0))
        self._reserved: frozenset[int] = frozenset()
        with ExitStack() as stack:
            self.handle = self._load(part, device, stack)
            self.context = self._start(part, device, stack)
            self._batch = self._llama.llama_batch_init(self.batch_tokens, 0, 1)
            stack.callback(self._llama.llama_batch_free, self._batch)
            self._close = weakref.finalize(self, stack.pop_all().close)
        self._vocab = self._llama.llama_model_get_vocab(self.handle)
        self.vocabulary = int(self._llama.llama_vocab_n_tokens(self._vocab))

    def _load(self, part: LlmPart, device: DeviceConfig, stack: ExitStack) -> Any:
        library().errors.clear()
        params = self._llama.llama_model_default_params()
        params.n_gpu_layers = device.gpu_layers
        handle = self._llama.llama_model_load_from_file(str(part.file).encode(), params)
        if not handle:
            raise failure(f"{part.file.name} cannot be loaded", _MEND_FILE)
        stack.callback(self._llama.llama_model_free, handle)
        return handle

    def _start(self, part: LlmPart, device: DeviceConfig, stack: ExitStack) -> Any:
        params = self._llama.llama_context_default_params()
        params.n_ctx = part.context
        params.n_batch = params.n_ubatch = self.batch_tokens
        params.n_threads = params.n_threads_batch = self.threads
        params.type_k = params.type_v = getattr(self._llama, f"GGML_TYPE_{device.kv_type.upper()}")
        params.flash_attn_type = int(device.flash_attention)
        context = self._llama.llama_init_from_model(self.handle, params)
        if not context:
            raise failure(f"{part.file.name} cannot be started with {part.context} tokens", _MEND_MEMORY)
        stack.callback(self._llama.llama_free, context)
        return context

    @property
    def closed(self) -> bool:
        """Whether its memory has been given back."""
        return not self._close.alive

    def close(self) -> None:
        """Gives all memory back; harmless when done twice."""
        self._close()

    # The vocabulary

    @property
    def chat_template(self) -> str | None:
        """The Jinja source in the file, if any."""
        source = self._llama.llama_model_chat_template(self.handle, None)
        return source.decode("utf-8", "replace") if source else None

    @property
    def bos(self) -> str:
        """The text of the token that begins a sequence, or ""."""
        return self._name(self._llama.llama_vocab_bos(self._vocab))

    @property
    def eos(self) -> str:
        """The text of the token that ends a sequence, or ""."""
        return self._name(self._llama.llama_vocab_eos(self._vocab))

    @property
    def adds_bos(self) -> bool:
        """Whether the file asks for BOS in front of every sequence."""
        return bool(self._llama.llama_vocab_get_add_bos(self._vocab))

    def ends(self, token: int) -> bool:
        """Whether an answer is over here: at an end of generation, or where another control token begins."""
        return bool(
            self._llama.llama_vocab_is_eog(self._vocab, token)
            or self._llama.llama_vocab_is_control(self._vocab, token)
        )

    def piece(self, token: int) -> bytes:
        """The bytes of a token; several tokens may share one character. Empty for a control token."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            written = self._llama.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if written >= 0:
                return buffer.raw[:written]
            size = -written

    def tokens(self, part: Text | Control) -> list[int]:
        """Token ids of one part, without BOS; control tokens are read as such in a Control part only."""
        data = utf8(part.text)
        room = len(data) + 8
        while True:
            ids = (self._llama.llama_token * room)()
            special = isinstance(part, Control)
            count = self._llama.llama_tokenize(self._vocab, data, len(data), ids, room, False, special)
            if count >= 0:
                return list(ids[:count])
            room = -count

    def reserve(self, controls: Iterable[Control]) -> None:
        """Keeps what a chat template is made of out of user text, also where the file calls it user-defined."""
        user_defined = self._llama.LLAMA_TOKEN_ATTR_USER_DEFINED
        self._reserved = frozenset(
            token
            for part in controls
            for token in self.tokens(part)
            if self._llama.llama_vocab_get_attr(self._vocab, token) & user_defined
            and self._name(token).strip()
        )

    def plain(self, part: Part) -> list[Part]:
        """The part, with a Text cut inside every control token that plain tokenising would still make of it.

        llama.cpp looks for no control token in such text, but SentencePiece merges can arrive at one, and a
        token that the file calls user-defined is always read.
        """
        if not isinstance(part, Text):
            return [part]
        found = next((token for token in self.tokens(part) if self._is_reserved(token)), None)
        if found is None:
            return [part]
        name = self._name(found)
        if len(name) < 2 or name not in part.text:
            return [
                Text(letter)
                for letter in part.text
                if not any(map(self._is_reserved, self.tokens(Text(letter))))
            ]
        first, *others = part.text.split(name)
        cuts = [first, *(cut for other in others for cut in (name[:1], name[1:] + other))]
        return [piece for cut in cuts if cut for piece in self.plain(Text(cut))]

    def _is_reserved(self, token: int) -> bool:
        return token in self._reserved or self.ends(token)

    def _name(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self._llama.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")).replace(
            "\u2581", " "
        )

    # The context

    def clear(self) -> None:
        """Forgets every token."""
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self.context), True)

    def decode(self, tokens: Sequence[int], position: int) -> None:
        """Reads tokens from a position on; `logits` are then those after the last. Raises ModelError."""
        for start in range(0, len(tokens), self.batch_tokens):
            some = tokens[start : start + self.batch_tokens]
            self._fill(some, position + start)
            self._batch.logits[len(some) - 1] = start + len(some) == len(tokens)
            if self._llama.llama_decode(self.context, self._batch) != 0:
                raise failure("the language model stopped", _MEND_MEMORY)

    def _fill(self, tokens: Sequence[int], position: int) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for row, token in enumerate(tokens):
            batch.token[row] = token
            batch.pos[row] = position + row
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = 0
            batch.logits[row] = 0

    def logits(self) -> Floats:
        """float32 (vocabulary,), unnormalised, valid until the next decode."""
        pointer = self._llama.llama_get_logits_ith(self.context, -1)
        if not pointer:
            raise failure("the language model gave no logits", _MEND_FILE)
        return np.ctypeslib.as_array(pointer, shape=(self.vocabulary,))


def utf8(text: str) -> bytes:
    """UTF-8 of any str: surrogate pairs joined, lone surrogates replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
