"""Whether an export has room: on the disk and in memory, asked before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path

from kinsight.errors import ModelError

_SMALLER = "close other programs, or use a machine with more memory"
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")
_MEMINFO = Path("/proc/meminfo")


def check_room(what: str, folder: Path, disk: int, memory: int, meminfo: Path = _MEMINFO) -> None:
    """ModelError where `folder` has not `disk` bytes free, or this machine not `memory` bytes."""
    free = shutil.disk_usage(folder).free
    if free < disk:
        raise ModelError(
            f"{what} needs {_gb(disk)} on the disk of {folder}, and {_gb(free)} are free",
            "make room, or name a folder on another disk",
        )
    available = free_memory(meminfo)
    if available is not None and available < memory:
        raise ModelError(
            f"{what} needs {_gb(memory)} of memory, and {_gb(available)} are free",
            _SMALLER,
        )


def or_room(error: Exception, mend: str) -> str:
    """The mend of what torch refused: another one where it refused for want of memory."""
    return _SMALLER if any(words in str(error) for words in _NO_MEMORY) else mend


def free_memory(meminfo: Path = _MEMINFO) -> int | None:
    """Bytes that a process may still take; None where the system does not tell."""
    if not meminfo.is_file():
        return None
    rows = (line.split() for line in meminfo.read_text("utf-8").splitlines())
    return next((int(row[1]) * 1024 for row in rows if row[:1] == ["MemAvailable:"]), None)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
