"""The language model in a process of its own: it answers as at home, and its end is one sentence."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from kinsight.config import DeviceConfig
from kinsight.errors import MissingPackage, ModelError
from kinsight.llm import Generation, Llm, Text, Turn, WorkerLlm, load_llm
from kinsight.llm.memory import MIB, resident_bytes
from kinsight.llm.serving import Limit, Server, failed
from kinsight.llm.wire import Call, Done, Failed, Piece, Reply, Value, Wear, receive
from talkers import HELLO, NEEDS_LLAMA_CPP, device, part, picture
from tiny_gguf import ASSISTANT, make_text_gguf

pytestmark = NEEDS_LLAMA_CPP
LONG = Generation(max_tokens=900)
WORDS = [f" w{number}" for number in range(40)]
ENDLESS = {ASSISTANT: [WORDS[0]]} | {word: [WORDS[(row + 1) % 40]] for row, word in enumerate(WORDS)}
"""Goes round and round, in circles that are too long to be taken for a loop."""
SEEN = [Turn("user", (picture(3), Text("a dog")))]
NO_LIMIT = Limit(1 << 40, 0)


def allowing(mebibytes: int) -> DeviceConfig:
    return replace(device(), memory_mb=mebibytes)


@pytest.fixture(scope="module")
def worker(pair: tuple[Path, Path]) -> Iterator[WorkerLlm]:
    with WorkerLlm(part(*pair, sees="photo+references"), device()) as llm:
        yield llm


def test_it_answers_as_at_home(worker: WorkerLlm, seeing: Llm) -> None:
    options = Generation(max_tokens=12)
    there, here = worker.generate(SEEN, options), seeing.generate(SEEN, options)
    assert "".join(there) == "".join(here)
    assert there.ended == here.ended
    assert there.usage.tokens["answer"] == here.usage.tokens["answer"]
    assert there.usage.timings_ms["first_token"] >= there.usage.timings_ms["encode"] > 0
    assert worker.count(SEEN) == seeing.count(SEEN)
    assert worker.choose(SEEN).probabilities == pytest.approx(seeing.choose(SEEN).probabilities, abs=1e-4)
    there_score, here_score = worker.score(SEEN, ["a cat"])[0], seeing.score(SEEN, ["a cat"])[0]
    assert there_score.log_probability == pytest.approx(here_score.log_probability, abs=1e-2)
    schema = {"enum": ["Lala", "Ann"]}
    assert worker.answer_json(SEEN, schema) == seeing.answer_json(SEEN, schema)
    assert worker.prepare([picture(3), picture(77)]) == 1


def test_errors_arrive_as_they_are(worker: WorkerLlm, seeing: Llm) -> None:
    too_long = [Turn("user", (Text("x" * 3000),))]
    with pytest.raises(ModelError) as there:
        worker.generate(too_long)
    with pytest.raises(ModelError) as here:
        seeing.generate(too_long)
    assert str(there.value) == str(here.value)
    with pytest.raises(ValueError, match="expected one choice or more"):
        worker.choose(HELLO, [])
    missing = failed(MissingPackage("it is not here", "install it")).error()
    assert isinstance(missing, MissingPackage) and missing.mend == "install it"
    assert "".join(worker.generate(HELLO, Generation(max_tokens=3)))


def test_a_cancelled_stream_leaves_it_usable(worker: WorkerLlm) -> None:
    whole = "".join(worker.generate(SEEN, Generation(max_tokens=8)))
    for _ in range(5):
        stream = worker.generate(SEEN, LONG)
        assert next(stream)
        stream.close()
        assert stream.usage.tokens["answer"] > 0
    worker.generate(SEEN, LONG)  # never read
    assert "".join(worker.generate(SEEN, Generation(max_tokens=8))) == whole


def interrupted(
    worker: WorkerLlm, monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object], after: int = 0
) -> None:
    """Does something until Ctrl-C: while it waits for a reply, after as many replies as are told."""
    assert worker._worker is not None
    taken, really = itertools.count(), worker._worker._replies

    class Interrupting:
        put = really.put

        def get(self) -> Any:
            if next(taken) == after:
                raise KeyboardInterrupt
            return really.get()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(worker._worker, "_replies", Interrupting())
        deed()


def test_ctrl_c_leaves_no_reply_to_the_next_call(worker: WorkerLlm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it comes, in the very same process."""
    twice, process = [*HELLO, *HELLO], worker.process_id
    counts, answer = (worker.count(HELLO), worker.count(twice)), "".join(worker.generate(SEEN, Generation(8)))
    begun, cancelled = worker.generate(SEEN, LONG), worker.generate(HELLO, LONG)
    next(cancelled)
    deeds: list[tuple[Callable[[], object], int]] = [
        (cancelled.close, 0),  # while it waits for the figures; first, since nothing else is asked before
        (lambda: worker.count(twice), 0),
        (lambda: worker.prepare([picture(78)]), 0),
        (lambda: worker.generate(HELLO), 0),
        (lambda: "".join(begun), 2),
        (lambda: "".join(worker.generate(SEEN, LONG)), 1),
    ]
    for deed, after in deeds:
        interrupted(worker, monkeypatch, deed, after)
        interrupted(worker, monkeypatch, lambda: worker.count(twice))  # and again, at once
        assert (worker.count(HELLO), worker.count(twice)) == counts
        assert "".join(worker.generate(SEEN, Generation(8))) == answer
    assert worker.process_id == process


def test_ctrl_c_while_a_call_is_sent_starts_it_anew(
    worker: WorkerLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a message may be in the pipe."""
    count, process = worker.count(HELLO), worker.process_id

    def half(stream: IO[bytes], message: object) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("kinsight.llm.worker.send", half)
        worker.count(HELLO)
    assert worker.count(HELLO) == count
    assert worker.process_id not in (None, process)


def test_an_answer_cancelled_before_its_turn_is_not_given(seeing: Llm, tmp_path: Path) -> None:
    """Though the one before it ends meanwhile."""
    with (tmp_path / "replies").open("w+b") as replies:
        server = Server(seeing, replies, NO_LIMIT)
        for number in (1, 2):
            server.answer(Call(number, "generate", (SEEN, Generation(8))))
        server._begun[2].cancel()
        server.answer(Call(1, "run", ()))
        begin = replies.tell()
        server.answer(Call(2, "run", ()))
        replies.seek(begin)
        assert isinstance(receive(replies).message, Done)


def test_two_streams_of_one_thread_are_refused(worker: WorkerLlm) -> None:
    stream = worker.generate(HELLO, LONG)
    next(stream)
    with pytest.raises(ModelError, match="another answer of this language model is still being read"):
        worker.count(HELLO)
    stream.close()


def test_killed_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    with WorkerLlm(part(make_text_gguf(tmp_path / "llm.gguf", ENDLESS)), device()) as worker:
        for _ in range(2):
            stream = worker.generate(HELLO, LONG)
            assert next(stream) == "w0"
            assert worker.process_id is not None
            os.kill(worker.process_id, signal.SIGKILL)
            with pytest.raises(
                ModelError, match=r"process was ended by signal 9: ask again: it is started anew$"
            ):
                "".join(stream)
            assert "".join(worker.generate(HELLO, Generation(max_tokens=3))) == "w0 w1 w2"
        before, begun = worker.process_id, worker.generate(HELLO, LONG)
        assert before is not None and worker._worker is not None
        os.kill(before, signal.SIGKILL)  # between two answers nobody need know
        worker._worker.process.wait()
        assert "".join(worker.generate(HELLO, Generation(max_tokens=3))) == "w0 w1 w2"
        assert worker.process_id not in (None, before)
        with pytest.raises(ModelError, match="process ended before this answer began"):
            next(begun)
        assert not worker._begun


def test_more_memory_than_allowed_ends_it(tmp_path: Path) -> None:
    """By a text that is too long to be held, which no budget foresees."""
    allowed = resident_bytes() // MIB + 120
    with WorkerLlm(part(make_text_gguf(tmp_path / "llm.gguf")), allowing(allowed)) as worker:
        words = rf"took, with this process, more than memory_mb = {allowed} of test: use a smaller bundle, or"
        with pytest.raises(ModelError, match=words):
            worker.count([Turn("user", (Text("x" * (60 << 20)),))])
        assert worker.count(HELLO) > 0


@pytest.mark.stress
def test_what_this_process_takes_meanwhile_ends_it_too(tmp_path: Path) -> None:
    """Both together hold no more than is allowed, also what is loaded here after the language model."""
    with WorkerLlm(
        part(make_text_gguf(tmp_path / "llm.gguf")), allowing(resident_bytes() // MIB + 150)
    ) as llm:
        assert llm.count(HELLO) > 0
        more = np.ones(200 << 17)  # MiB
        with pytest.raises(ModelError, match=r"took, with this process, more|the model's own process"):
            for _ in range(100):  # it looks now and then
                assert llm.count(HELLO) > 0
                time.sleep(0.02)
        with pytest.raises(ModelError, match=r"this process \d+, .*the model's own process \d+"):
            llm.count(HELLO)
        del more


def worn(worker: WorkerLlm) -> None:
    """As it gets with the time."""
    assert worker._worker is not None
    worker._worker._settled_bytes = 0
    for work, mebibytes, much in ((49, 100, False), (449, 110, False), (549, 115, False), (550, 130, True)):
        worker._worker._replies.put(Reply(-1, Value(None), Wear(work, mebibytes << 20)))
        worker._worker._replies.put(Reply(-2, Value(None)))
        worker._worker.receive(-2)
        assert worker._worker.worn == much


def test_a_worn_process_is_renewed(worker: WorkerLlm) -> None:
    before = worker.process_id
    worn(worker)
    assert worker.count(HELLO) > 0
    assert worker.process_id not in (None, before)


def test_a_worn_process_ends_the_answers_first_that_were_begun(worker: WorkerLlm) -> None:
    before, whole = worker.process_id, "".join(worker.generate(SEEN, Generation(8)))
    begun, unread = worker.generate(SEEN, Generation(8)), worker.generate(SEEN, Generation(8))
    worn(worker)
    other = threading.Thread(target=worker.count, args=(HELLO,))
    other.start()
    other.join()
    assert "".join(begun) == whole and worker.process_id == before
    worn(worker)
    del unread  # nobody will read it
    assert worker.count(HELLO) > 0
    assert worker.process_id not in (None, before)


def test_whatever_is_computed_wears_it(seeing: Llm, tmp_path: Path) -> None:
    """Pictures count, and answers without a new one, of whatever kind; what computes nothing does not."""
    asked = [Turn("user", (picture(90), picture(91), Text("a dog")))]
    calls: list[tuple[str, tuple[object, ...], int]] = [
        ("count", (asked,), 0),
        ("memory", (), 0),
        ("generate", (asked, Generation(4)), 0),
        ("run", (), 2),
        ("choose", (asked,), 3),
        ("score", (asked, ["a cat"]), 4),
        ("answer_json", (asked, {"enum": ["Lala", "Ann"]}), 5),
        ("prepare", ([picture(92), picture(93), picture(94)],), 8),
        ("prepare", ([picture(92)],), 9),
        ("choose", (asked, []), 10),  # raises
        ("generate", ([*asked, Turn("user", (picture(95),))], Generation(4)), 10),
    ]
    for number, (method, arguments, work) in enumerate(calls):
        with (tmp_path / "replies").open("w+b") as replies:
            if not number:
                server = Server(seeing, replies, NO_LIMIT)
            server._replies = replies
            server.answer(Call(2 if method == "run" else number, method, arguments))
            replies.seek(0)
            while (reply := receive(replies)).wear is None:
                assert isinstance(reply.message, Piece)
            assert (method, reply.wear.work) == (method, work)
            assert reply.wear.resident_bytes > 10 * MIB


ORPHAN = """
import os, signal, sys
from pathlib import Path
from kinsight.llm import Generation, Text, Turn, WorkerLlm
from talkers import device, part

worker = WorkerLlm(part(Path(sys.argv[1])), device())
stream = worker.generate([Turn("user", (Text("Hello"),))], Generation(max_tokens=900))
if sys.argv[2] == "busy":
    next(stream)
print(worker.process_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("state", [pytest.param("idle", marks=pytest.mark.stress), "busy"])
def test_it_ends_with_the_process_that_asks(tmp_path: Path, state: str) -> None:
    """Which was killed, and could not say so."""
    file = make_text_gguf(tmp_path / "llm.gguf", ENDLESS)
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", ORPHAN, file, state]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    process, deadline = int(ended.stdout), time.monotonic() + 10
    while (there := is_running(process)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if there:
        os.kill(process, signal.SIGKILL)
    assert not there


def is_running(process: int) -> bool:
    """Not where it is gone, or waits for nothing but to be counted by its parent."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_cannot_be_loaded_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "llm.gguf").write_text("no model")
    with pytest.raises(ModelError, match="invalid magic"):
        WorkerLlm(part(tmp_path / "llm.gguf"), device())


def test_closed_it_is_gone(tmp_path: Path) -> None:
    worker = WorkerLlm(part(make_text_gguf(tmp_path / "llm.gguf")), device())
    process = worker.process_id
    assert process is not None
    worker.close()
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(ModelError, match="this language model was closed: load it again"):
        worker.count(HELLO)


def test_two_threads_get_their_own_answers(worker: WorkerLlm, seeing: Llm) -> None:
    asked = {word: [Turn("user", (picture(seed), Text(word)))] for seed, word in enumerate(["a dog", " Ann"])}
    wanted = {
        word: "".join(seeing.generate(turns, Generation(max_tokens=6))) for word, turns in asked.items()
    }
    found: dict[str, set[str]] = {word: set() for word in asked}

    def ask(word: str) -> None:
        for _ in range(5):
            found[word].add("".join(worker.generate(asked[word], Generation(max_tokens=6))))

    threads = [threading.Thread(target=ask, args=(word,)) for word in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {word: {answer} for word, answer in wanted.items()}


def test_answers_that_are_never_read_do_not_pile_up(seeing: Llm, tmp_path: Path) -> None:
    with (tmp_path / "replies").open("w+b") as replies:
        server = Server(seeing, replies, NO_LIMIT)
        for number in range(30):
            server.answer(Call(number, "generate", (HELLO, Generation())))
        assert set(server._begun) == set(range(14, 30))
        begin = replies.tell()
        server.answer(Call(3, "run", ()))
        replies.seek(begin)
        refused = receive(replies).message
        assert isinstance(refused, Failed) and "begun too long ago" in str(refused.error())


def test_loading_at_home_and_there_are_refused_alike(pair: tuple[Path, Path]) -> None:
    described, small = part(*pair, sees="photo"), allowing(64)
    with pytest.raises(ModelError, match="would take"):
        load_llm(described, small)
    with pytest.raises(ModelError, match="would take"):
        WorkerLlm(described, small)
