"""llama-cpp-python's own multimodal handler on the same files, with the same cap on a picture's tokens."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kinsight.image import encode_jpeg
from kinsight.llm import Picture, Turn

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart

_QUALITY = 95


class Stock:
    """A loaded `llama_cpp.Llama` with its handler; a context manager."""

    def __init__(self, part: LlmPart, threads: int) -> None:
        import llama_cpp

        started = time.perf_counter()
        self._llama = llama_cpp.Llama(
            str(part.file),
            chat_handler=_handler(part),
            n_ctx=part.context,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
        self.load_ms = 1e3 * (time.perf_counter() - started)

    def __enter__(self) -> Stock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._llama.close()

    def first_token_ms(self, turns: Sequence[Turn]) -> float:
        """From the question to the first token of the answer."""
        messages = [_message(turn) for turn in turns]
        started = time.perf_counter()
        self._llama.create_chat_completion(messages, max_tokens=1, temperature=0.0)
        return 1e3 * (time.perf_counter() - started)


def _handler(part: LlmPart) -> Any:
    """The handler of models with a chat template, and `image_max_tokens`, which it cannot be given."""
    from llama_cpp.llama_chat_format import MTMDChatHandler

    def start(handler: Any, llama_model: Any) -> None:
        mtmd = handler._mtmd_cpp
        make = mtmd.mtmd_context_params_default

        def capped() -> Any:
            params = make()
            params.image_max_tokens = part.image_max_tokens
            return params

        mtmd.mtmd_context_params_default = capped
        try:
            MTMDChatHandler._init_mtmd_context(handler, llama_model)
        finally:
            mtmd.mtmd_context_params_default = make

    subclass = type("Capped", (MTMDChatHandler,), {"_init_mtmd_context": start})
    return subclass(str(part.mmproj), verbose=False, use_gpu=False)


def _message(turn: Turn) -> dict[str, Any]:
    return {"role": turn.role, "content": [_content(part) for part in turn.parts]}


def _content(part: Any) -> dict[str, Any]:
    if not isinstance(part, Picture):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(encode_jpeg(part.pixels, _QUALITY)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
