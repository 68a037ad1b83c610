"""What took long to compute, kept in memory and on disk under a cap; any of it may be lost at any time."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

_MAGIC = b"kinsight blob 1\n"
_SUFFIX = ".blob"
_HEAD = len(_MAGIC) + 32  # bytes before a value on disk
Data = bytes | bytearray


class Blobs:
    """Key -> bytes. What was used last stays longest; on disk every value has its own sha256.

    A key is any text. A file that is damaged counts as absent and is removed; where the disk is full or
    cannot be written, values stay in memory only. One thread at a time; several processes may share a folder.
    """

    def __init__(self, folder: Path | None, memory_bytes: int, disk_bytes: int) -> None:
        """`folder`: made where it is absent; None keeps everything in memory.

        Once it is removed, as at `forget`, nothing is written to disk any more: what is in memory, here or in
        another process, may be of what was forgotten.
        """
        self._folder = folder
        self._handle = _opened(folder) if folder else None
        if self._handle is not None:
            weakref.finalize(self, os.close, self._handle)
        self._caps = memory_bytes, disk_bytes
        self._kept: OrderedDict[str, Data] = OrderedDict()
        self._held = 0  # bytes in memory
        self._unwritten: dict[str, Data] = {}

    def get(self, key: str) -> Data | None:
        """The value, from memory or disk; None where there is none."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        data = self._unwritten.get(key) or self._read(key)
        if data is not None:
            self._remember(key, data)
        return data

    def put(self, key: str, data: Data) -> None:
        """Keeps a value; on disk from the next `flush` on."""
        self._remember(key, data)
        if self._folder is not None and _HEAD + len(data) <= self._caps[1]:
            self._unwritten[key] = data

    def make_room(self, size: int) -> bool:
        """Drops what was used longest ago from memory before a value of that size is made or read.

        False, and nothing is dropped, where a value of that size is more than may lie in memory.
        """
        if size > self._caps[0]:
            return False
        while self._kept and self._held + size > self._caps[0]:
            self._held -= len(self._kept.popitem(last=False)[1])
        return True

    def flush(self) -> None:
        """Writes what is new, and removes what was used longest ago before a value would exceed the cap."""
        if not self._unwritten or self._folder is None:
            return
        waiting, self._unwritten = self._unwritten, {}
        with suppress(OSError):  # a cache less is no harm
            if self._handle is None or not os.path.samestat(os.fstat(self._handle), self._folder.stat()):
                return
            for key, data in waiting.items():
                self._make_room_on_disk(_HEAD + len(data))
                self._write(self._file(key), data)

    def clear(self) -> None:
        """Forgets everything, on disk too. OSError where a file cannot be removed."""
        self._kept.clear()
        self._unwritten.clear()
        self._held = 0
        for file in self._files():
            file.unlink(missing_ok=True)

    def _remember(self, key: str, data: Data) -> None:
        self._held -= len(self._kept.pop(key, b""))
        if self.make_room(len(data)):
            self._held += len(data)
            self._kept[key] = data

    def _file(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}{_SUFFIX}"

    def _files(self) -> list[Path]:
        return [] if self._folder is None else sorted(self._folder.glob(f"*{_SUFFIX}*"))

    def _read(self, key: str) -> bytes | None:
        if self._folder is None:
            return None
        file = self._file(key)
        try:
            with file.open("rb") as stream:
                self.make_room(os.fstat(stream.fileno()).st_size)
                head, data = stream.read(_HEAD), stream.read()
        except OSError:
            return None
        if head != _MAGIC + hashlib.sha256(data).digest():
            with suppress(OSError):
                file.unlink()
            return None
        with suppress(OSError):
            os.utime(file)
        return data

    def _write(self, file: Path, data: Data) -> None:
        """Whole or not at all to a reader; not synced, since the hash tells what a crash left."""
        part = file.with_suffix(f"{_SUFFIX}.{os.getpid()}")
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(_MAGIC + hashlib.sha256(data).digest())
                out.write(data)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    def _make_room_on_disk(self, wanted: int) -> None:
        kept = []
        for file in self._files():
            with suppress(FileNotFoundError):
                status = file.stat()
                kept.append((status.st_mtime_ns, status.st_size, file))
        total = wanted + sum(size for _, size, _ in kept)
        for _, size, file in sorted(kept):
            if total <= self._caps[1]:
                return
            file.unlink(missing_ok=True)
            total -= size


def _opened(folder: Path) -> int | None:
    """A handle of the folder, made where it is absent: its number is given to no other while this is open."""
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY)
    return None
