"""One GGUF model in memory, with a context that turns tokens into logits."""

from __future__ import annotations

import ctypes
import platform
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from kinsight.llm.native import MEND_FILE, failure, library, physical_cores
from kinsight.llm.vocabulary import Vocabulary
from kinsight.types import Floats

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_MEND_MEMORY = "choose a smaller bundle, or change [llm] in the device config"
_LEAST_BATCH = (
    128  # tokens: more at once are not read faster by a processor, and take more memory (docs/log.md)
)
_GPU_BATCH = 512
MOST_OUTPUTS = 64
"""Tokens of one batch after which there are logits: room for them is reserved, a vocabulary for each."""


def batch_tokens(part: LlmPart, device: DeviceConfig) -> int:
    """Tokens that are read at once, a picture's in any case; between two an answer can be cancelled."""
    least = _GPU_BATCH if device.gpu_layers else _LEAST_BATCH
    return min(part.context, max(least, part.image_max_tokens or 0))


class Model:
    """A loaded model with an empty context; born ready, one user at a time."""

    def __init__(self, part: LlmPart, device: DeviceConfig) -> None:
        """Raises ModelError where file or memory will not do, MissingPackage without llama-cpp-python."""
        self._llama = library().llama
        self.threads = device.threads or physical_cores()
        self.batch_tokens = batch_tokens(part, device)
        with ExitStack() as stack:
            self.handle = self._load(part, device, stack)
            self.context = self._start(part, device, stack)
            self._batch = self._llama.llama_batch_init(self.batch_tokens, 0, 1)
            stack.callback(self._llama.llama_batch_free, self._batch)
            self._close = weakref.finalize(self, stack.pop_all().close)
        self.vocabulary = Vocabulary(self.handle)

    def _load(self, part: LlmPart, device: DeviceConfig, stack: ExitStack) -> Any:
        library().errors.clear()
        params = self._llama.llama_model_default_params()
        params.n_gpu_layers = device.gpu_layers
        self._place(params, device)
        handle = self._llama.llama_model_load_from_file(str(part.file).encode(), params)
        if not handle:
            raise failure(f"{part.file.name} cannot be loaded", MEND_FILE)
        stack.callback(self._llama.llama_model_free, handle)
        return handle

    def _place(self, params: Any, device: DeviceConfig) -> None:
        """Maps the file of the weights, or reads it.

        On a processor quantised weights would be there twice: mapped, and laid out anew for it. On x86-64 the
        new layout makes reading slower (docs/log.md), so they stay as they are mapped; elsewhere it is kept,
        and the file not mapped unless the device config says so.
        """
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        mapped = device.mmap
        if device.gpu_layers == 0:
            mapped = x86 if mapped is None else mapped
            params.use_extra_bufts = not (mapped or x86)
        if mapped is not None:
            modes = self._llama.LLAMA_LOAD_MODE_NONE, self._llama.LLAMA_LOAD_MODE_MMAP
            params.load_mode = modes[mapped]

    def _start(self, part: LlmPart, device: DeviceConfig, stack: ExitStack) -> Any:
        params = self._llama.llama_context_default_params()
        params.n_ctx = part.context
        params.n_batch = params.n_ubatch = self.batch_tokens
        params.n_outputs_max = min(MOST_OUTPUTS, self.batch_tokens)
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

    def clear(self) -> None:
        """Forgets every token."""
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self.context), True)

    def cut(self, position: int) -> bool:
        """Forgets everything from a position on; False where that does not leave what was before it.

        A sliding window may have lost what it would look back on, or everything, though llama.cpp says yes,
        and recurrent layers cannot go back at all.
        """
        memory = self._llama.llama_get_memory(self.context)
        if not self._llama.llama_memory_seq_rm(memory, 0, position, -1):
            return False
        window = self._llama.llama_model_n_swa(self.handle)
        first = self._llama.llama_memory_seq_pos_min(memory, 0)  # -1: a window holds nothing any more
        return position == 0 or 0 <= first <= max(0, position - window)

    @property
    def state_bytes(self) -> int:
        """Of what `state` gives now."""
        return int(self._llama.llama_state_seq_get_size(self.context, 0))

    def state(self) -> bytearray:
        """Everything that was read, for `set_state` of a model of the same files and settings."""
        size = self.state_bytes
        state = bytearray(size)
        written = self._llama.llama_state_seq_get_data(self.context, _pointer(state), size, 0)
        return state if written == size else state[:written]

    def set_state(self, state: bytes | bytearray) -> bool:
        """Puts a state in place of what was read; False, and nothing is left, where it does not fit."""
        if self._llama.llama_state_seq_set_data(self.context, _pointer(state), len(state), 0) > 0:
            return True
        self.clear()
        return False

    @property
    def embedding_width(self) -> int:
        """Numbers that stand for a token, or for one row of a picture."""
        return int(self._llama.llama_model_n_embd_inp(self.handle))

    def decode(self, tokens: Sequence[int], position: int, outputs: int = 1) -> None:
        """Reads tokens from a position on; there are `logits` after the last `outputs` of them then.

        Where these are more than one, all tokens must fit into one batch. Raises ModelError.
        """
        for start in range(0, len(tokens), self.batch_tokens):
            some = tokens[start : start + self.batch_tokens]
            self._fill(some, position + start)
            for row in range(max(0, len(tokens) - outputs - start), len(some)):
                self._batch.logits[row] = 1
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

    def logits(self, row: int = -1) -> Floats:
        """float32 (vocabulary,), unnormalised, valid until the next decode; `row` of what was read last."""
        pointer = self._llama.llama_get_logits_ith(self.context, row)
        if not pointer:
            raise failure("the language model gave no logits", MEND_FILE)
        return np.ctypeslib.as_array(pointer, shape=(len(self.vocabulary),))


def _pointer(data: bytes | bytearray) -> Any:
    """To bytes where they lie: a state can be as large as a whole context, so it is not copied."""
    return np.frombuffer(data, np.uint8).ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
