"""What the language model is measured beside: llama-cpp-python's own handler, and transformers."""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinsight.closing import Closing
from kinsight.errors import MissingPackage, ModelError
from kinsight.image import encode_jpeg
from kinsight.llm import Picture, Turn
from kinsight.llm.wire import Failed, receive, send

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart

_QUALITY = 95
_PROGRAM = "kinsight_export.mllm.rival"  # no import: torch stays in a process of its own
_PATIENCE_S = 10


@dataclass(frozen=True)
class Took:
    """What an answer took that nothing was kept for."""

    first_ms: float  # to the first token
    encode_ms: float  # of it scaling and encoding pictures; the rest is reading
    tokens: int  # of the prompt, with those of the pictures
    tokens_s: float = 0.0  # after the first one, where there were more


@dataclass(frozen=True)
class Opening:
    """The first message to the process of transformers."""

    checkpoint: Path
    image_max_tokens: int
    threads: int


@dataclass(frozen=True)
class Question:
    """Every other one."""

    turns: Sequence[Turn]
    tokens: int  # of the answer


class Stock(Closing):
    """A loaded `llama_cpp.Llama` with its handler; a context manager."""

    def __init__(self, part: LlmPart, threads: int) -> None:
        import llama_cpp

        started = time.perf_counter()
        self._mtmd = _Staged(part.image_max_tokens or 1)
        self._llama = llama_cpp.Llama(
            str(part.file),
            chat_handler=_handler(part, self._mtmd),
            n_ctx=part.context,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
        self.load_ms = 1e3 * (time.perf_counter() - started)

    def close(self) -> None:
        """Gives all memory back."""
        self._llama.close()

    def ask(self, turns: Sequence[Turn]) -> Took:
        """From the question to the first token of the answer."""
        messages = [_message(turn) for turn in turns]
        self._mtmd.seconds = 0.0
        started = time.perf_counter()
        told = self._llama.create_chat_completion(messages, max_tokens=1, temperature=0.0)
        first_ms = 1e3 * (time.perf_counter() - started)
        return Took(first_ms, 1e3 * self._mtmd.seconds, told["usage"]["prompt_tokens"])


@dataclass
class _Staged:
    """llama_cpp.mtmd_cpp with a clock, and with `image_max_tokens`, which the handler cannot be given."""

    image_max_tokens: int
    seconds: float = field(default=0.0, init=False)

    def __getattr__(self, name: str) -> Any:
        from llama_cpp import mtmd_cpp

        return getattr(mtmd_cpp, name)

    def mtmd_context_params_default(self) -> Any:
        """The defaults but for the cap."""
        params = self.__getattr__("mtmd_context_params_default")()
        params.image_max_tokens = self.image_max_tokens
        return params

    def mtmd_tokenize(self, *given: Any) -> Any:
        """Scales all pictures and cuts them into tiles."""
        return self._timed(self.__getattr__("mtmd_tokenize"), *given)

    def mtmd_helper_eval_chunk_single(self, *given: Any) -> Any:
        """The helper's two steps, one after the other as in its own source, of which the first is timed."""
        handle, context, chunk, position, sequence, batch, _, after = given
        if failed := self._timed(self.mtmd_encode_chunk, handle, chunk):
            return failed
        embeddings, nothing = self.mtmd_get_output_embd(handle), self.mtmd_helper_post_decode_callback()
        place = position, sequence, batch
        return self.mtmd_helper_decode_image_chunk(
            handle, context, chunk, embeddings, *place, after, nothing, None
        )

    def _timed(self, call: Callable[..., Any], *given: Any) -> Any:
        started = time.perf_counter()
        try:
            return call(*given)
        finally:
            self.seconds += time.perf_counter() - started


class Checkpoint(Closing):
    """transformers on the checkpoint that a bundle was made from, in another process; a context manager."""

    def __init__(self, folder: Path, part: LlmPart, threads: int) -> None:
        """MissingPackage without the extra [export], ModelError where the checkpoint cannot be used."""
        if not all(map(find_spec, ("torch", "transformers"))):
            raise MissingPackage(
                "transformers is not installed, so nothing can be measured beside it",
                "pip install 'kinsight[export]', or leave --transformers out",
            )
        with ExitStack() as stack:
            self._said = stack.enter_context(tempfile.TemporaryFile())
            line = [sys.executable, "-m", _PROGRAM]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=self._said)
            stack.callback(self._process.communicate)
            stack.callback(self._process.kill)
            self.dtype: str = self._call(Opening(folder.absolute(), part.image_max_tokens or 1, threads))
            self._close = stack.pop_all().close

    def close(self) -> None:
        """Ends the process."""
        self._close()

    def ask(self, turns: Sequence[Turn], tokens: int = 1) -> Took:
        """From the question to the first token of the answer, and how fast those after it come."""
        took = self._call(Question(turns, tokens))
        assert isinstance(took, Took)
        return took

    def _call(self, message: Opening | Question) -> Any:
        assert self._process.stdin and self._process.stdout
        try:
            send(self._process.stdin, message)
            found = receive(self._process.stdout)
        except (OSError, EOFError) as error:
            self._process.wait(_PATIENCE_S)
            self._said.seek(0)
            lines = self._said.read().decode("utf-8", "replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
            raise ModelError(f"transformers ended ({last.strip()[:300]})", "see to the checkpoint") from error
        if isinstance(found, Failed):
            raise found.error()
        return found


def _handler(part: LlmPart, mtmd: _Staged) -> Any:
    """The handler of models with a chat template."""
    from llama_cpp.llama_chat_format import MTMDChatHandler

    handler = MTMDChatHandler(str(part.mmproj), verbose=False, use_gpu=False)
    handler._mtmd_cpp = mtmd
    return handler


def _message(turn: Turn) -> dict[str, Any]:
    return {"role": turn.role, "content": [_content(part) for part in turn.parts]}


def _content(part: Any) -> dict[str, Any]:
    if not isinstance(part, Picture):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(encode_jpeg(part.pixels, _QUALITY)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
