"""What a worker process and the one that started it say to each other: pickled messages with lengths."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kinsight.llm.turns import Ended, Usage

if TYPE_CHECKING:
    from kinsight.bundle import LlmPart
    from kinsight.config import DeviceConfig

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Load:
    """The first message: what to load."""

    part: LlmPart
    device: DeviceConfig
    cache: Path | None
    beside_bytes: int = 0  # that the process holds which asks


@dataclass(frozen=True)
class Call:
    """Asks for a method of the language model; `generate` only begins an answer, `run` streams it."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    beside_bytes: int = 0  # that the process holds now which asks


@dataclass(frozen=True)
class Cancel:
    """Ends the stream of a call."""

    number: int


@dataclass(frozen=True)
class Value:
    """What a method gave."""

    value: Any


@dataclass(frozen=True)
class Piece:
    """Text of an answer."""

    text: str
    withheld: tuple[str, ...] = ()  # as in Usage, so far


@dataclass(frozen=True)
class Done:
    """An answer is over."""

    usage: Usage
    ended: Ended


@dataclass(frozen=True)
class Failed:
    """A method raised an error of ours, or a ValueError."""

    kind: type[Exception]
    words: tuple[str, ...]  # what it is made of

    def error(self) -> Exception:
        """As it was raised there."""
        return self.kind(*self.words)


@dataclass(frozen=True)
class Wear:
    """What a worker has done so far, and what it holds by now."""

    work: int  # pictures encoded, and answers without a new one
    resident_bytes: int


@dataclass(frozen=True)
class Reply:
    """To which call a message belongs; loading is number 0."""

    number: int
    message: Value | Piece | Done | Failed
    wear: Wear | None = None  # after the call; None while it goes on


def send(stream: IO[bytes], message: object) -> None:
    """OSError or ValueError where nobody reads any more."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message; EOFError where there comes none any more."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return pickle.loads(_exactly(stream, length))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
