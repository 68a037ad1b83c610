"""transformers on a checkpoint, in a process of its own, asked what the bench of the engine asks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ContextDecorator
from typing import IO, Any

import numpy as np
import torch
from transformers import AutoProcessor
from transformers.utils import logging

from kinsight.bench.rivals import Opening, Question, Took
from kinsight.errors import KinsightError, MissingPackage, ModelError
from kinsight.llm import Picture, Text, Turn
from kinsight.llm.serving import failed
from kinsight.llm.template import ChatTemplate
from kinsight.llm.wire import receive, send
from kinsight_export.mllm.source import loaded, read_config

_DTYPES = torch.float32, torch.bfloat16
_MEND = "pip install torchvision, of the build that fits torch's"
_WARM, _TOKENS = 2, 4  # questions and tokens by which the faster number format is found


class Rival:
    """A loaded model with its own processor, in the number format that is faster on this machine."""

    def __init__(self, opening: Opening) -> None:
        """ModelError where the checkpoint cannot be used."""
        torch.set_num_threads(opening.threads)
        folder = opening.checkpoint
        self._kind: str = read_config(folder).model_type
        self._net: Any = loaded(folder)
        try:
            self._processor: Any = AutoProcessor.from_pretrained(str(folder), local_files_only=True)
        except ImportError as error:
            reason = " ".join(str(error).split())[:100]
            raise MissingPackage(f"the processor of {folder.name} needs more ({reason})", _MEND) from error
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{folder.name} has no processor ({error})", "copy all its files") from error
        cap(self._processor.image_processor, opening.image_max_tokens)
        words = self._processor.tokenizer
        source = getattr(self._processor, "chat_template", None) or words.chat_template
        self._template = ChatTemplate(source, words.bos_token or "", words.eos_token or "", False)
        self._encoding = _Stopwatch()
        self._net.model.get_image_features = self._encoding(self._net.model.get_image_features)
        self._dtype = min(_DTYPES, key=self._seconds)
        self._net.to(self._dtype)

    @property
    def dtype(self) -> str:
        """In which it computes."""
        return str(self._dtype).removeprefix("torch.")

    def _seconds(self, dtype: torch.dtype) -> float:
        """For a question about a picture, once it is warm."""
        self._dtype = dtype
        self._net.to(dtype)
        turns = [Turn("user", (Picture(np.zeros((512, 512, 3), np.uint8)), Text("Who is in this photo?")))]
        for _ in range(_WARM):
            started = time.perf_counter()
            self.ask(Question(turns, _TOKENS))
        return time.perf_counter() - started

    def ask(self, question: Question) -> Took:
        """All of it anew, as `generate` does."""
        self._encoding.seconds = 0.0
        clock = _Clock()
        started = time.perf_counter()
        feeds = self._feeds(question.turns)
        with torch.inference_mode():
            self._net.generate(
                **feeds,
                do_sample=False,
                max_new_tokens=question.tokens,
                min_new_tokens=question.tokens,
                streamer=clock,
            )
        _, first, *_, last = clock.times + clock.times[-1:]
        more = question.tokens - 1
        return Took(
            1e3 * (first - started),
            1e3 * self._encoding.seconds,
            int(feeds["input_ids"].shape[1]),
            more / (last - first) if more else 0.0,
        )

    def _feeds(self, turns: Sequence[Turn]) -> dict[str, Any]:
        """What the model reads; scaling the pictures counts as encoding."""
        parts = self._template.parts(turns)
        image = getattr(self._processor, "boi_token", None) or self._processor.image_token
        pictures = [part.pixels for part in parts if isinstance(part, Picture)]
        text = "".join(image if isinstance(part, Picture) else part.text for part in parts)
        with self._encoding:
            feeds = self._processor(
                text=[text],
                images=[pictures] if pictures else None,
                return_tensors="pt",
                add_special_tokens=False,
            )
        if self._kind != "gemma3":
            feeds.pop("token_type_ids", None)  # of the tokenizer, which no other model takes
        return {
            key: value.to(self._dtype) if value.is_floating_point() else value for key, value in feeds.items()
        }


class _Stopwatch(ContextDecorator):
    """Adds up the seconds of what it is put around."""

    def __init__(self) -> None:
        self.seconds = self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._started


class _Clock:
    """A streamer that keeps the time of the prompt and of every token."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:
        del value
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to be done."""


def cap(images: Any, tokens: int) -> None:
    """No more tokens a picture than the bundle allows, as far as an image processor can be told so."""
    if hasattr(images, "do_image_splitting"):  # idefics3: the whole picture, no tiles
        images.do_image_splitting = False
    if hasattr(images, "merge_size"):  # Qwen
        most = tokens * (images.patch_size * images.merge_size) ** 2
        images.size = {"shortest_edge": min(most, images.size["shortest_edge"]), "longest_edge": most}
        images.min_pixels, images.max_pixels = images.size.values()


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Until nobody asks any more."""
    try:
        rival = Rival(receive(questions))
        send(answers, rival.dtype)
        while True:
            send(answers, rival.ask(receive(questions)))
    except EOFError:
        return
    except KinsightError as error:
        send(answers, failed(error))


if __name__ == "__main__":
    logging.set_verbosity_error()
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what libraries print must not be among the answers
        serve(sys.stdin.buffer, out)
