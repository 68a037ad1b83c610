"""What the C decoders print to standard error, caught: libjpeg reports broken picture data nowhere else."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TypeVar

Result = TypeVar("Result")

_LOCK = threading.Lock()
_LOST = re.compile(
    r"Corrupt JPEG data: (?!\d+ extraneous bytes before marker 0x(d9|db|e|fe))|Premature end of JPEG"
)
_CHATTER = re.compile(
    r"libpng |Corrupt JPEG|Premature end|Unsupported |Unknown Adobe|Inconsistent |Invalid |Warning: unknown"
    r"|\[ ?(WARN|ERROR|INFO)|imdecode_|imencode|OpenCV|>|$"
)


def holding_stderr(work: Callable[[], Result]) -> tuple[Result, str]:
    """(what `work` returns, libjpeg's warning that picture data is lost or "").

    Descriptor 2 belongs to the whole process: lines of other threads are passed on when the work is done.
    Bytes left over before a header or the end of a JPEG are no loss: some cameras pad there.
    """
    with _LOCK, _scratch() as caught:
        with _diverted_to(caught.fileno()):
            result = work()
        caught.seek(0)
        lines = caught.read().decode(errors="replace").splitlines()
    _pass_on([line for line in lines if not _CHATTER.match(line)])
    return result, next((line for line in lines if _LOST.match(line)), "")


def _scratch() -> IO[bytes]:
    """In memory where the system can, so that a read-only disk does not matter."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


@contextmanager
def _diverted_to(descriptor: int) -> Iterator[None]:
    real = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)


def _pass_on(lines: list[str]) -> None:
    if lines:
        os.write(2, "".join(f"{line}\n" for line in lines).encode())
