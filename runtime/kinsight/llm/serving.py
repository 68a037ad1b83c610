"""The worker process: `python -m kinsight.llm.serving` loads a language model and answers over its pipes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from queue import Queue
from typing import IO, Any

from kinsight.errors import KinsightError, ModelError
from kinsight.llm.engine import Llm, check_llm, load_llm
from kinsight.llm.memory import MIB, Beside, resident_bytes
from kinsight.llm.stream import Stream
from kinsight.llm.wire import Call, Cancel, Done, Failed, Load, Piece, Reply, Value, Wear, receive, send

OVER_MEMORY = 77
"""Exit code of a worker that took, with the process that asks, more than the device config allows."""
_WATCH_S = 0.05
_BEGUN_KEPT = 16
_METHODS = ("count", "choose", "score", "answer_json", "prepare", "memory", "generate")
_IDLE = ("count", "memory", "generate")  # compute nothing; "generate" only begins an answer


class Server:
    """One language model, one caller."""

    def __init__(self, llm: Llm, replies: IO[bytes], limit: Limit) -> None:
        self._llm, self._replies, self._limit = llm, replies, limit
        self._begun: dict[int, Stream] = {}
        self._work = 0
        self.calls: Queue[Call | None] = Queue()

    def listen(self, requests: IO[bytes]) -> None:
        """Takes calls until the other side is gone; a cancellation overtakes them."""
        try:
            while True:
                message = receive(requests)
                if not isinstance(message, Cancel):
                    self._limit.beside_bytes = message.beside_bytes
                    self._limit.check()  # a large call may be over before the watch looks again
                    self.calls.put(message)
                elif stream := self._begun.get(message.number):
                    stream.cancel()
                del message  # whoever waits for the next one holds nothing of this one
        except EOFError:
            os._exit(0)  # whatever is being computed, nobody waits for it

    def serve(self) -> None:
        """Answers one call after the other."""
        while call := self.calls.get():
            self.answer(call)
            del call

    def answer(self, call: Call) -> None:
        """Does what one call asks for, and says what came of it."""
        known = self._llm.encodes
        message: Value | Done | Failed
        try:
            message = self._run(call.number) if call.method == "run" else self._value(call)
        except (KinsightError, ValueError) as error:
            message = failed(error)
        if call.method not in _IDLE:
            self._work += max(1, self._llm.encodes - known)
        send(self._replies, Reply(call.number, message, Wear(self._work, resident_bytes())))

    def _value(self, call: Call) -> Value:
        if call.method not in _METHODS:
            raise ValueError(f"expected one of {_METHODS}, got {call.method!r}")
        found: Any = getattr(self._llm, call.method)(*call.arguments)
        if isinstance(found, Stream):
            self._begin(call.number, found)
            found = None
        return Value(found)

    def _begin(self, number: int, stream: Stream) -> None:
        """Keeps a stream until it is run; of those that never are only the last few."""
        self._begun[number] = stream
        if len(self._begun) > _BEGUN_KEPT:
            self._begun.pop(min(self._begun)).close()

    def _run(self, number: int) -> Done:
        stream = self._begun.get(number)
        if stream is None:
            raise ModelError("this answer was begun too long ago", "ask again")
        try:
            for text in stream:
                send(self._replies, Reply(number, Piece(text, stream.usage.withheld)))
        finally:
            del self._begun[number]
        return Done(stream.usage, stream.ended)


def failed(error: Exception) -> Failed:
    """An error as a message."""
    words = (error.problem, error.mend) if isinstance(error, KinsightError) else (str(error),)
    return Failed(type(error), words)


class Limit:
    """What this process and the one that asks may hold together."""

    def __init__(self, most_bytes: int, beside_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.beside_bytes = beside_bytes  # as the other one told last

    def check(self) -> None:
        """Ends this process where both hold more than they may."""
        if resident_bytes() + self.beside_bytes > self._most_bytes:
            os._exit(OVER_MEMORY)

    def watch(self) -> None:
        """Checks again and again."""
        while True:
            self.check()
            time.sleep(_WATCH_S)


def main() -> None:
    """Loads what the first message names, then answers until the other side is gone."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no message
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started this
    requests = sys.stdin.buffer
    wanted: Load = receive(requests)
    limit = Limit(wanted.device.memory_mb * MIB, wanted.beside_bytes)
    try:
        check_llm(
            wanted.part, wanted.device, Beside(wanted.beside_bytes)
        )  # with figures, where the limit has none
        threading.Thread(target=limit.watch, daemon=True).start()
        llm = load_llm(wanted.part, wanted.device, wanted.cache, wanted.beside_bytes)
    except KinsightError as error:
        send(replies, Reply(0, failed(error)))
        return
    server = Server(llm, replies, limit)
    send(replies, Reply(0, Value(None)))
    threading.Thread(target=server.listen, args=(requests,), daemon=True).start()
    server.serve()


if __name__ == "__main__":
    main()
