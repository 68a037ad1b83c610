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
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kinsight.errors import KinsightError, ModelError
from kinsight.llm.judging import YES_NO, Choices, Score
from kinsight.llm.memory import Held
from kinsight.llm.serving import OVER_MEMORY
from kinsight.llm.stream import OneAtATime, Stream, Tally
from kinsight.llm.turns import Generation, Picture, Turn
from kinsight.llm.wire import Call, Cancel, Done, Failed, Load, Piece, Value, receive, send

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_MEND = "ask again: it is started anew"
_GREEDY = Generation()
_SETTLED, _WORN = 50, 500  # pictures: memory is compared from the first number on, renewed from the second
_CREEP = 1.2  # of the memory that it held when settled
_PATIENCE_S = 5
_LINES_KEPT = 200  # of what the process said last
_REASON = re.compile(r"ASSERT|Error\b|error:")


class Worker:
    """One process with a loaded language model; born ready."""

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
        self._said: deque[bytes] = deque(maxlen=_LINES_KEPT)
        self._ear = threading.Thread(target=_listen, args=(self.process, self._said), daemon=True)
        self._ear.start()
        self.close = weakref.finalize(self, _end, self.process)
        self._pictures, self._settled_bytes = 0, 0
        self.worn = False
        self.send(wanted)
        self.value()

    def send(self, message: object) -> None:
        """ModelError where the process is gone."""
        assert self.process.stdin is not None
        try:
            send(self.process.stdin, message)
        except (OSError, ValueError):
            raise self._gone() from None

    def receive(self) -> Any:
        """The next message. ModelError where the process is gone, and whatever error it sends."""
        assert self.process.stdout is not None
        try:
            message = receive(self.process.stdout)
        except (EOFError, OSError, ValueError):
            raise self._gone() from None
        if isinstance(message, Failed):
            raise message.error()
        return message

    def value(self) -> Any:
        """What the method gave that was called last."""
        message = self.receive()
        assert isinstance(message, Value)
        return message.value

    def done(self, done: Done) -> None:
        """Notes what an answer cost: `worn` says whether the process is to be renewed."""
        self._pictures += done.usage.encodes
        if self._pictures < _SETTLED:
            self._settled_bytes = max(self._settled_bytes, done.resident_bytes)
        self.worn = self._pictures >= _WORN and done.resident_bytes > _CREEP * self._settled_bytes

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.close.alive and self.process.poll() is None

    def _gone(self) -> ModelError:
        """Why the process ended, as an error."""
        code = self.process.wait()
        self._ear.join(_PATIENCE_S)
        self.close()
        if code == OVER_MEMORY:
            device = self._wanted.device
            problem = f"the language model took more than memory_mb = {device.memory_mb} of {device.name}"
            return ModelError(problem, "use a smaller bundle, or raise memory_mb in the device config")
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        problem = f"the language model's process {how}"
        lines = [line.decode("utf-8", "replace").strip() for line in self._said]
        reason = next((line for line in reversed(lines) if _REASON.search(line)), "")
        return ModelError(f"{problem} ({reason[:200]})" if reason else problem, _MEND)


class WorkerLlm:
    """A language model as `Llm` is one, in a process of its own that is started anew when it ended."""

    def __init__(self, part: LlmPart, device: DeviceConfig, cache: Path | None = None) -> None:
        """Raises as `load_llm` does."""
        self.part = part
        self._wanted = Load(part, device, cache)
        self._turn = OneAtATime()
        self._numbers = itertools.count(1)
        self._worker: Worker | None = Worker(self._wanted)

    def __enter__(self) -> WorkerLlm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        """As `Llm.memory`, of the worker."""
        found: Held = self._call("memory")
        return found

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
        with tally.timed("first_token"):
            worker = self._asked(Call(number, "generate", (turns, options)))
        return Stream(self._answer(worker, number, tally), tally)

    def _call(self, method: str, *arguments: Any) -> Any:
        with self._turn.alone():
            worker = self._ready()
            worker.send(Call(next(self._numbers), method, arguments))
            return worker.value()

    def _asked(self, call: Call) -> Worker:
        with self._turn.alone():
            worker = self._ready()
            worker.send(call)
            worker.value()
            return worker

    def _ready(self) -> Worker:
        """The process, started anew where it ended or is worn."""
        if self._worker is None:
            raise ModelError("this language model was closed", "load it again")
        if not self._worker.alive or self._worker.worn:
            self._worker.close()
            self._worker = Worker(self._wanted)
        return self._worker

    def _answer(self, worker: Worker, number: int, tally: Tally) -> Generator[str, None, None]:
        with self._turn.alone():
            if worker is not self._worker:
                raise ModelError("the language model's process ended before this answer began", _MEND)
            worker.send(Call(number, "run", ()))
            ended = False
            try:
                while not ended:
                    message = worker.receive()
                    ended = isinstance(message, Done)
                    if isinstance(message, Piece):
                        yield message.text
                    else:
                        tally.take(message.usage, message.ended)
                        worker.done(message)
            except KinsightError:
                ended = True
                raise
            finally:
                if not ended and worker.alive:
                    self._cancel(worker, number, tally)

    def _cancel(self, worker: Worker, number: int, tally: Tally) -> None:
        """Waits until the process has stopped, so that it can be asked again."""
        worker.send(Cancel(number))
        while not isinstance(message := worker.receive(), Done):
            pass
        tally.take(message.usage, message.ended)
        worker.done(message)


def _listen(process: subprocess.Popen[bytes], said: deque[bytes]) -> None:
    """Keeps the last lines that a process says on standard error."""
    if process.stderr:
        said.extend(process.stderr)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closes the pipes, which the process takes for its end, and ends it where it does not."""
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # the process was gone before it had read all
            if pipe:
                pipe.close()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
