"""Reads xz archives within a bound of memory, which their own headers could ask gigabytes of."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kinsight.errors import PullError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MOST_MEMORY = 128 << 20  # bytes; xz -9 takes 65 MiB
_CHUNK = 1 << 16  # bytes


class Unxz(io.RawIOBase):
    """What an xz file holds, to be read from its beginning to its end.

    Reading raises PullError where it asks for too much memory, tarfile.ReadError where it is damaged.
    """

    def __init__(self, packed: IO[bytes], path: Path) -> None:
        """`path` is what it is called in a message."""
        self._packed, self._path = packed, path
        self._stream: Any = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Bytes that were put into it, 0 at the end. PullError where this Python has no lzma."""
        room = memoryview(buffer)
        done = self._next(len(room))
        room[: len(done)] = done
        return len(done)

    def _next(self, size: int) -> bytes:
        """At most so many bytes, b"" at the end."""
        try:
            import lzma
        except ImportError:
            raise PullError("this Python cannot read xz archives", "pack it again as .tar.gz") from None
        while True:
            if self._stream is None or self._stream.eof:
                rest = self._stream.unused_data.lstrip(b"\0") if self._stream else b""
                given = rest or self._packed.read(_CHUNK).lstrip(b"\0")
                if not given:
                    return b""
                self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
            else:
                given = self._packed.read(_CHUNK) if self._stream.needs_input else b""
                if self._stream.needs_input and not given:
                    raise tarfile.ReadError("it ends too early")
            try:
                done: bytes = self._stream.decompress(given, size)
            except lzma.LZMAError as cause:
                raise self._refused(cause) from None
            if done:
                return done

    def _refused(self, cause: Exception) -> Exception:
        if "limit" in str(cause).lower():
            return PullError(
                f"{self._path} asks for more than {_MOST_MEMORY >> 20} MiB to be unpacked",
                "pack it again as .tar.gz or .zip",
            )
        return tarfile.ReadError(str(cause))
