"""The language model in a process of its own: a crash there is one error here, and it is started anew."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from kinsight.closing import Closing
from kinsight.errors import ModelError
from kinsight.llm.judging import YES_NO, Choices, Score
from kinsight.llm.memory import Held, more_memory, peak_bytes, resident_bytes
from kinsight.llm.serving import OVER_MEMORY
from kinsight.llm.stream import OneAtATime, Stream, Tally
from kinsight.llm.turns import Generation, Picture, Turn
from kinsight.llm.wire import Call, Cancel, Done, Failed, Load, Piece, Reply, Value, Wear, receive, send

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_MEND = "ask again: it is started anew"
_GREEDY = Generation()
_SETTLED, _WORN = (
    50,
    500,
)  # of Wear.work: memory is compared from the first number on, renewed from the second
_CREEP = 1.2  # of the memory that it held when settled
_PATIENCE_S = 5
_LINES_KEPT = 200  # of what the process said last
_REASON = re.compile(r"ASSERT|Error\b|error:")


class Worker:
    """One process with a loaded language model; born ready.

    A Ctrl-C may come at any moment. Every reply bears its call's number, so what an interrupted call has not
    taken is skipped by the next; and only the ear, a thread of its own, which no signal interrupts, reads.
    """

    def __init__(self, wanted: Load) -> None:
        """Raises ModelError or MissingPackage as loading does there."""
        self._wanted = wanted
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kinsight.llm.serving"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._sending = threading.Lock()  # what cancels an answer may come from another thread
        self._said: deque[bytes] = deque(maxlen=_LINES_KEPT)
        self._replies: SimpleQueue[Reply | None] = SimpleQueue()
        self._ears = (
            threading.Thread(target=_listen, args=(self.process, self._said), daemon=True),
            threading.Thread(target=_hear, args=(self.process, self._replies), daemon=True),
        )
        for ear in self._ears:
            ear.start()
        self.close = weakref.finalize(self, _end, self.process)
        self._settled_bytes = 0
        self.worn = False  # whether it is to be renewed
        try:
            self.send(wanted)
            self.value(0)
        except BaseException:
            self.kill()
            raise

    def send(self, message: object) -> None:
        """ModelError where the process is gone."""
        assert self.process.stdin is not None
        try:
            with self._sending:
                send(self.process.stdin, message)
        except (OSError, ValueError):
            raise self._gone() from None
        except BaseException:
            self.kill()  # half a message may be on its way, and nothing is understood after it
            raise

    def ask(self, number: int, method: str, *arguments: Any) -> None:
        """Sends a call. ModelError where the process is gone."""
        self.send(Call(number, method, arguments, resident_bytes()))

    def receive(self, number: int) -> Value | Piece | Done:
        """The next reply to a call. ModelError where the process is gone, and whatever error it sends."""
        while reply := self._replies.get():
            if reply.wear:
                self._note(reply.wear)
            if reply.number != number:
                continue  # its call was interrupted
            if isinstance(reply.message, Failed):
                raise reply.message.error()
            return reply.message
        self._replies.put(None)  # for the next who asks
        raise self._gone()

    def value(self, number: int) -> Any:
        """What a called method gave."""
        message = self.receive(number)
        assert isinstance(message, Value)
        return message.value

    def cancel(self, number: int) -> None:
        """Says that nobody waits for an answer any more; harmless where the process is gone."""
        with suppress(ModelError):
            self.send(Cancel(number))

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.close()

    def _note(self, wear: Wear) -> None:
        if wear.work < _SETTLED:
            self._settled_bytes = max(self._settled_bytes, wear.resident_bytes)
        self.worn = wear.work >= _WORN and wear.resident_bytes > _CREEP * self._settled_bytes

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.close.alive and self.process.poll() is None

    def _gone(self) -> ModelError:
        """Why the process ended, as an error."""
        code = self.process.wait()
        for ear in self._ears:
            ear.join(_PATIENCE_S)
        self.close()
        if code == OVER_MEMORY:
            device = self._wanted.device
            problem = "the language model took, with this process, more than"
            problem += f" memory_mb = {device.memory_mb} of {device.name}"
            return ModelError(problem, f"use a smaller bundle, or {more_memory(device)}")
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        problem = f"the language model's process {how}"
        lines = [line.decode("utf-8", "replace").strip() for line in self._said]
        reason = next((line for line in reversed(lines) if _REASON.search(line)), "")
        return ModelError(f"{problem} ({reason[:200]})" if reason else problem, _MEND)


class WorkerLlm(Closing):
    """A language model as `Llm` is one, in a process of its own that is started anew when it ended."""

    def __init__(self, part: LlmPart, device: DeviceConfig, cache: Path | None = None) -> None:
        """Raises as `load_llm` does."""
        self.part = part
        self._wanted = Load(part, device, cache)
        self._turn = OneAtATime()
        self._numbers = itertools.count(1)
        self._begun: set[int] = set()  # answers that are not over yet, by number
        self._worker: Worker | None = self._started()

    @property
    def process_id(self) -> int | None:
        """Of the worker, None where there is none now."""
        return self._worker.process.pid if self._worker and self._worker.alive else None

    def close(self) -> None:
        """Ends the process; harmless when done twice."""
        if self._worker:
            self._worker.close()
        self._worker = None

    def count(self, turns: Sequence[Turn]) -> int:
        """As `Llm.count`."""
        return int(self._call("count", turns))

    def prepare(self, pictures: Sequence[Picture]) -> int:
        """As `Llm.prepare`."""
        return int(self._call("prepare", pictures))

    def memory(self) -> Held:
        """As `Llm.memory`, of the worker and this process."""
        found: Held = self._call("memory")
        return replace(found, peak_bytes=found.peak_bytes + peak_bytes())

    def choose(self, turns: Sequence[Turn], choices: Sequence[str] = YES_NO) -> Choices:
        """As `Llm.choose`."""
        found: Choices = self._call("choose", turns, choices)
        return found

    def score(self, turns: Sequence[Turn], texts: Sequence[str]) -> tuple[Score, ...]:
        """As `Llm.score`."""
        found: tuple[Score, ...] = self._call("score", turns, texts)
        return found

    def answer_json(
        self, turns: Sequence[Turn], schema: Mapping[str, Any], options: Generation = _GREEDY
    ) -> Any:
        """As `Llm.answer_json`."""
        return self._call("answer_json", turns, schema, options)

    def generate(self, turns: Sequence[Turn], options: Generation = _GREEDY) -> Stream:
        """As `Llm.generate`; where the process ends meanwhile the stream raises ModelError."""
        number, tally = next(self._numbers), Tally()
        with tally.timed("first_token"), self._turn.alone():
            worker = self._ready()
            worker.ask(number, "generate", turns, options)
            worker.value(number)
            self._begun.add(number)
        stream = Stream(self._answer(worker, number, tally), tally, lambda: worker.cancel(number))
        weakref.finalize(stream, self._begun.discard, number)  # also where nobody ever reads it
        return stream

    def _call(self, method: str, *arguments: Any) -> Any:
        with self._turn.alone():
            worker, number = self._ready(), next(self._numbers)
            worker.ask(number, method, *arguments)
            return worker.value(number)

    def _ready(self) -> Worker:
        """The process, started anew where it ended, or is worn and no answer is under way."""
        if self._worker is None:
            raise ModelError("this language model was closed", "load it again")
        if not self._worker.alive or (self._worker.worn and not self._begun):
            self._worker.close()
            self._worker = self._started()
        return self._worker

    def _started(self) -> Worker:
        return Worker(replace(self._wanted, beside_bytes=resident_bytes()))

    def _answer(self, worker: Worker, number: int, tally: Tally) -> Generator[str, None, None]:
        with self._turn.alone():
            try:
                if worker is not self._worker:
                    raise ModelError("the language model's process ended before this answer began", _MEND)
                worker.ask(number, "run")
                yield from _pieces(worker, number, tally)
            except (GeneratorExit, KeyboardInterrupt) as end:
                worker.cancel(number)
                if isinstance(end, GeneratorExit):  # else it is not waited for: what comes yet is skipped
                    with suppress(ModelError):
                        deque(_pieces(worker, number, tally), maxlen=0)
                raise
            finally:
                self._begun.discard(number)


def _pieces(worker: Worker, number: int, tally: Tally) -> Iterator[str]:
    """An answer's text up to its end, when its figures are taken."""
    while not isinstance(message := worker.receive(number), Done):
        if isinstance(message, Piece):
            tally.withheld = list(message.withheld)
            yield message.text
    tally.take(message.usage, message.ended)


def _hear(process: subprocess.Popen[bytes], replies: SimpleQueue[Reply | None]) -> None:
    """Takes every reply off the pipe as it comes; None where there comes none any more."""
    assert process.stdout is not None
    try:
        with process.stdout, suppress(EOFError, OSError, ValueError):
            while True:
                replies.put(receive(process.stdout))
    finally:
        replies.put(None)


def _listen(process: subprocess.Popen[bytes], said: deque[bytes]) -> None:
    """Keeps the last lines that a process says on standard error."""
    if process.stderr:
        said.extend(process.stderr)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closes its input, which the process takes for its end, and ends it where it does not."""
    with suppress(OSError):  # the process was gone before it had read all
        if process.stdin:
            process.stdin.close()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
