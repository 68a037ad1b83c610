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
from kinsight.llm.engine import Llm, load_llm
from kinsight.llm.memory import MIB, resident_bytes
from kinsight.llm.stream import Stream
from kinsight.llm.wire import Call, Cancel, Done, Failed, Load, Piece, Reply, Value, receive, send

OVER_MEMORY = 77
"""Exit code of a worker that took more than the device config allows."""
_WATCH_S = 0.05
_BEGUN_KEPT = 16
_METHODS = ("count", "choose", "score", "answer_json", "prepare", "memory", "generate")


class Server:
    """One language model, one caller."""

    def __init__(self, llm: Llm, replies: IO[bytes]) -> None:
        self._llm, self._replies = llm, replies
        self._begun: dict[int, Stream] = {}
        self.calls: Queue[Call | None] = Queue()

    def listen(self, requests: IO[bytes]) -> None:
        """Takes calls until the other side is gone; a cancellation overtakes them."""
        try:
            while True:
                message = receive(requests)
                if not isinstance(message, Cancel):
                    self.calls.put(message)
                elif stream := self._begun.get(message.number):
                    stream.cancel()
        except EOFError:
            os._exit(0)  # whatever is being computed, nobody waits for it

    def serve(self) -> None:
        """Answers one call after the other."""
        while call := self.calls.get():
            try:
                self._answer(call)
            except (KinsightError, ValueError) as error:
                self._reply(call.number, failed(error))

    def _reply(self, number: int, message: Value | Piece | Done | Failed) -> None:
        send(self._replies, Reply(number, message))

    def _answer(self, call: Call) -> None:
        if call.method == "run":
            self._run(call.number)
        elif call.method in _METHODS:
            found: Any = getattr(self._llm, call.method)(*call.arguments)
            if isinstance(found, Stream):
                self._begin(call.number, found)
                found = None
            self._reply(call.number, Value(found))

    def _begin(self, number: int, stream: Stream) -> None:
        """Keeps a stream until it is run; of those that never are only the last few."""
        self._begun[number] = stream
        if len(self._begun) > _BEGUN_KEPT:
            self._begun.pop(min(self._begun)).close()

    def _run(self, number: int) -> None:
        stream = self._begun.get(number)
        if stream is None:
            raise ModelError("this answer was begun too long ago", "ask again")
        try:
            for text in stream:
                self._reply(number, Piece(text))
        finally:
            del self._begun[number]
        self._reply(number, Done(stream.usage, stream.ended, resident_bytes()))


def failed(error: Exception) -> Failed:
    """An error as a message."""
    words = (error.problem, error.mend) if isinstance(error, KinsightError) else (str(error),)
    return Failed(type(error), words)


def watch(most_bytes: int) -> None:
    """Ends this process once it holds more than it may."""
    while resident_bytes() <= most_bytes:
        time.sleep(_WATCH_S)
    os._exit(OVER_MEMORY)


def main() -> None:
    """Loads what the first message names, then answers until the other side is gone."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no message
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started this
    requests = sys.stdin.buffer
    wanted: Load = receive(requests)
    threading.Thread(target=watch, args=(wanted.device.memory_mb * MIB,), daemon=True).start()
    try:
        llm = load_llm(wanted.part, wanted.device, wanted.cache)
    except KinsightError as error:
        send(replies, Reply(0, failed(error)))
        return
    server = Server(llm, replies)
    send(replies, Reply(0, Value(None)))
    threading.Thread(target=server.listen, args=(requests,), daemon=True).start()
    server.serve()


if __name__ == "__main__":
    main()
