"""An answer that nobody waits for ends soon, also while its prompt is read, and leaves nothing wrong."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinsight.llm import Generation, Llm, Picture, Text, Turn, WorkerLlm, load_llm
from kinsight.llm.serving import Limit, Server
from kinsight.llm.wire import Call, Done, receive
from kinsight.types import Floats
from talkers import HELLO, NEEDS_LLAMA_CPP, device, part, picture

pytestmark = NEEDS_LLAMA_CPP
ONE = Generation(max_tokens=1)
LONG = [Turn("user", (Text("a dog " * 150),))]
PICTURES = [picture(seed) for seed in (11, 12, 13)]


@pytest.fixture
def llm(pair: tuple[Path, Path], tmp_path: Path) -> Llm:
    return load_llm(part(*pair, sees="photo+references"), device(), tmp_path / "cache")


def seen(*pictures: Picture) -> list[Turn]:
    return [Turn("user", (*pictures, Text("Who?")))]


def logits(llm: Llm, turns: list[Turn]) -> tuple[Floats, int, int]:
    """float32 (vocabulary,) after a prompt, tokens of it that were known, pictures that were not."""
    stream = llm.generate(turns, ONE)
    next(stream, "")
    found = np.array(llm._model.logits())
    stream.close()
    return found, stream.usage.tokens["cached"], stream.usage.encodes


def then(really: Callable[..., Any], count: int, deed: Callable[[], object], calls: list[int]) -> Any:
    """Does something right after a call, and notes every call."""

    def wrapped(*arguments: Any) -> Any:
        found = really(*arguments)
        calls.append(1)
        if len(calls) == count:
            deed()
        return found

    return wrapped


def cancelled(llm: Llm, turns: list[Turn], method: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Cancels an answer from another thread, after two calls of a method; gives how many there were."""
    stream, calls = llm.generate(turns, Generation(max_tokens=20)), list[int]()
    owner = llm._model if method == "decode" else llm._vision

    def cancel() -> None:
        thread = threading.Thread(target=stream.cancel)
        thread.start()
        thread.join()

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, then(getattr(owner, method), 2, cancel, calls))
        assert "".join(stream) == "" and stream.ended == ""
    return calls


def test_a_long_text_is_left_after_the_batch_that_is_read(
    llm: Llm, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = llm._model.batch_tokens
    assert llm.count(LONG) > 4 * batch
    assert len(cancelled(llm, LONG, "decode", monkeypatch)) == 2
    found, cached, _ = logits(llm, LONG)
    assert cached == 2 * batch  # what was read before is not read again
    with load_llm(part(*pair, sees="photo+references"), device()) as fresh:
        np.testing.assert_allclose(found, logits(fresh, LONG)[0], atol=1e-4)


def test_pictures_are_left_after_the_one_that_is_encoded(
    llm: Llm, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(cancelled(llm, seen(*PICTURES), "encode", monkeypatch)) == 2
    found, _, encodes = logits(llm, seen(*PICTURES))
    assert encodes == 1
    with load_llm(part(*pair, sees="photo+references"), device()) as fresh:
        np.testing.assert_allclose(found, logits(fresh, seen(*PICTURES))[0], atol=1e-4)


@pytest.mark.parametrize("method", ["decode", "encode"])
def test_ctrl_c_ends_it_after_a_batch_or_a_picture(
    llm: Llm, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Ctrl-C is taken when the call into llama.cpp comes back, so no call may do more than that."""
    turns, calls = LONG if method == "decode" else seen(*PICTURES), list[int]()
    owner = llm._model if method == "decode" else llm._vision
    with monkeypatch.context() as patch:
        interrupt = partial(signal.raise_signal, signal.SIGINT)
        patch.setattr(owner, method, then(getattr(owner, method), 2, interrupt, calls))
        with pytest.raises(KeyboardInterrupt):
            "".join(llm.generate(turns, ONE))
    assert len(calls) == 2
    found, cached, encodes = logits(llm, turns)
    assert cached == 0 and encodes == (0 if method == "decode" else 2)
    with load_llm(part(*pair, sees="photo+references"), device()) as fresh:
        np.testing.assert_allclose(found, logits(fresh, turns)[0], atol=1e-4)


def test_no_call_reads_more_than_a_batch(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    really = llm._model.decode
    monkeypatch.setattr(
        llm._model, "decode", lambda some, *rest: sizes.append(len(some)) or really(some, *rest)
    )
    "".join(llm.generate(LONG, ONE))
    assert len(sizes) > 4 and max(sizes) == llm._model.batch_tokens == 128


def test_cancelled_before_its_first_word_it_says_none(llm: Llm) -> None:
    stream = llm.generate(HELLO, Generation(max_tokens=20))
    stream.cancel()
    assert list(stream) == [] and stream.ended == ""
    assert "".join(llm.generate(HELLO, Generation(max_tokens=3)))


def test_in_the_worker_too(pair: tuple[Path, Path]) -> None:
    with WorkerLlm(part(*pair, sees="photo+references"), device()) as worker:
        process, options = worker.process_id, Generation(max_tokens=3)
        answer = "".join(worker.generate(HELLO, options))
        before = worker.generate(LONG, options)
        before.cancel()
        assert list(before) == [] and before.usage.tokens["prompt"] > 0
        assert "".join(worker.generate(HELLO, options)) == answer
        assert worker.process_id == process


def test_the_worker_leaves_a_long_text_after_a_batch(
    llm: Llm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    with (tmp_path / "replies").open("w+b") as replies:
        server = Server(llm, replies, Limit(1 << 40, 0))
        server.answer(Call(1, "generate", (LONG, Generation(8))))
        stream, begin = server._begun[1], replies.tell()
        monkeypatch.setattr(llm._model, "decode", then(llm._model.decode, 2, stream.cancel, calls))
        server.answer(Call(1, "run", ()))
        replies.seek(begin)
        assert isinstance(receive(replies).message, Done)
    assert len(calls) == 2 and not server._begun
