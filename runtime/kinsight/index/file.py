"""The file that keeps the vectors of a large store ready: trusted only where its checksum is the store's."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinsight.home import write_private
from kinsight.types import Floats

_MAGIC = b"kinsight index 1\n"
_HEAD = 256
"""Bytes before the first array: the magic and one line of JSON, filled up with spaces."""
_LONGEST = 64 << 30


@dataclass(frozen=True, eq=False)
class Entries:
    """What an embedder made of n views and m negatives."""

    view_ids: NDArray[np.int64]  # (n,)
    view_concepts: NDArray[np.int64]  # (n,), concept ids
    views: Floats  # float32 (n, dim), unit length
    negative_ids: NDArray[np.int64]  # (m,)
    negative_concepts: NDArray[np.int64]  # (m,), concept ids
    negatives: Floats  # float32 (m, dim), unit length

    def arrays(self) -> Iterator[NDArray[np.int64] | Floats]:
        """All of them, in the order of the file."""
        yield from (self.view_ids, self.view_concepts, self.views)
        yield from (self.negative_ids, self.negative_concepts, self.negatives)


@dataclass(frozen=True)
class IndexFile:
    """One file in the folder for what one embedder saw."""

    folder: Path
    embedder_id: str

    @property
    def path(self) -> Path:
        """Follows from the embedder's id, which may hold any character."""
        return self.folder / f"{hashlib.sha256(self.embedder_id.encode()).hexdigest()[:16]}.index"

    def write(self, entries: Entries, generation: int) -> str | None:
        """The sha256, in hex, of the file that now holds these entries; None where it cannot be written.

        `generation` is the store's, to which they belong.
        """
        head = {"generation": generation, "views": len(entries.view_ids), "dim": entries.views.shape[1]}
        line = _MAGIC + json.dumps({**head, "negatives": len(entries.negative_ids)}).encode()
        data = bytearray(line.ljust(_HEAD - 1) + b"\n")
        for array in entries.arrays():
            data += np.ascontiguousarray(array).tobytes()
        try:
            if self.path.is_dir() and not self.path.is_symlink():
                return None
            write_private(self.path, bytes(data))
        except OSError:
            return None
        return hashlib.sha256(data).hexdigest()

    def read(self, sha256: str, generation: int) -> Entries | None:
        """The entries; None unless the file is exactly the one with this sha256 and of this generation."""
        data = _bytes_of(self.path)
        if data is None or hashlib.sha256(data.data).hexdigest() != sha256:
            return None
        counts = _counts(bytes(data[:_HEAD]))
        if counts is None or counts["generation"] != generation:
            return None
        return _entries(data[_HEAD:], counts["views"], counts["negatives"], counts["dim"])

    def remove(self) -> None:
        """Deletes the file, where it is one."""
        with suppress(OSError):
            self.path.unlink()


def _counts(head: bytes) -> dict[str, int] | None:
    """What the head says, None where it is none."""
    if not head.startswith(_MAGIC):
        return None
    try:
        counts = json.loads(head[len(_MAGIC) :])
    except ValueError:
        return None
    if not isinstance(counts, dict) or counts.keys() != {"generation", "views", "negatives", "dim"}:
        return None
    return counts if all(type(value) is int and value >= 0 for value in counts.values()) else None


def _entries(data: NDArray[np.uint8], views: int, negatives: int, dim: int) -> Entries | None:
    """Arrays that share the memory of the bytes behind the head; None where these are too few or too many."""
    if len(data) != (views + negatives) * (16 + 4 * dim):
        return None
    at = 0

    def numbers(count: int) -> NDArray[np.int64]:
        nonlocal at
        at += 8 * count
        return data[at - 8 * count : at].view(np.int64)

    def vectors(count: int) -> Floats:
        nonlocal at
        at += 4 * dim * count
        return data[at - 4 * dim * count : at].view(np.float32).reshape(count, dim)

    view_ids, view_concepts, view_vectors = numbers(views), numbers(views), vectors(views)
    return Entries(
        view_ids, view_concepts, view_vectors, numbers(negatives), numbers(negatives), vectors(negatives)
    )


def _bytes_of(path: Path) -> NDArray[np.uint8] | None:
    """uint8 (size,): the whole of a regular file that is no link; None for anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not _HEAD <= status.st_size <= _LONGEST:
                return None
            data = np.empty(status.st_size, np.uint8)
            read = 0
            while read < len(data) and (more := file.readinto(data[read:].data)):
                read += more
    except (OSError, MemoryError):  # a folder, say
        return None
    return data if read == len(data) else None
