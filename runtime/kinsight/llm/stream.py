"""An answer on its way: its text piece by piece, and what it has cost so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from kinsight.errors import ModelError
from kinsight.llm.turns import Ended, Usage


class CancelledError(Exception):
    """Nobody waits for an answer any more; whoever reads its stream sees it end."""


class Tally:
    """Tokens and times of one answer, as they add up, and whether anybody waits for it."""

    def __init__(self) -> None:
        self.ended: Ended = ""
        self.cancelled = threading.Event()
        self.encodes = 0
        self.withheld: list[str] = []
        self.tokens = {"prompt": 0, "cached": 0, "answer": 0}
        self.timings_ms = {"first_token": 0.0, "encode": 0.0, "prefill": 0.0, "decode": 0.0}

    @property
    def usage(self) -> Usage:
        """As far as it has come."""
        return Usage(dict(self.tokens), dict(self.timings_ms), self.encodes, tuple(self.withheld))

    def take(self, usage: Usage, ended: Ended) -> None:
        """What another process counted; the time to the first token here has been longer."""
        here = self.timings_ms["first_token"]
        self.tokens, self.timings_ms = dict(usage.tokens), dict(usage.timings_ms)
        self.timings_ms["first_token"] = max(here, self.timings_ms["first_token"])
        self.encodes, self.withheld, self.ended = usage.encodes, list(usage.withheld), ended

    def check(self) -> None:
        """CancelledError where the answer was cancelled, which another thread may do."""
        if self.cancelled.is_set():
            raise CancelledError

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds the time of a block to one of the timings."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[name] += (time.perf_counter() - begun) * 1000


class OneAtATime:
    """Lets one thread at a time use a model; the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: int | None = None  # the thread whose stream is open

    @contextmanager
    def alone(self) -> Iterator[None]:
        """ModelError where this very thread has an answer open, for which it would wait forever."""
        if self._reader == threading.get_ident():
            raise ModelError(
                "another answer of this language model is still being read", "read it to its end, or close it"
            )
        with self._lock:
            try:
                self._reader = threading.get_ident()
                yield
            finally:
                self._reader = None

    @contextmanager
    def over(self) -> Iterator[None]:
        """For the end of it all: after what other threads read, but in the midst of what this one reads."""
        if self._reader == threading.get_ident():
            yield
        else:
            with self._lock:
                yield


class Stream:
    """One answer: iterate for its text, then look at `usage` and `ended`.

    The model is busy from the first piece to the last, or until `close`, which cancels the rest and leaves
    the model usable. A stream is read by the thread that begins it; streams of other threads wait.
    """

    def __init__(
        self, pieces: Generator[str, None, None], tally: Tally, cancel: Callable[[], None] | None = None
    ) -> None:
        """`cancel`: sees to it that the pieces end soon; None: the tally is told."""
        self._pieces = pieces
        self._tally = tally
        self.cancel = cancel or tally.cancelled.set
        """From any thread, also before the first piece: the stream ends after the token, the batch of the
        prompt or the picture that is being computed."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Cancels what is left of the answer, in the thread that reads it."""
        self._pieces.close()

    @property
    def usage(self) -> Usage:
        """What the answer has cost so far; complete after the last piece."""
        return self._tally.usage

    @property
    def ended(self) -> Ended:
        """Why the answer is over; "" while it goes on, and where it was cancelled."""
        return self._tally.ended
