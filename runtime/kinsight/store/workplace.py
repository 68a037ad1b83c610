"""A private folder for what is in the making, locked meanwhile, so that what a killed process left can go."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kinsight.errors import StoreBusy

if sys.platform != "win32":
    import fcntl

_ZEROS = bytes(1 << 20)


def workplace_of(path: Path) -> Path:
    """The folder beside a store in which a backup is unpacked, or the store written anew."""
    return path.with_name(f"{path.name}-work")


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """The folder, empty and 0700, there only inside; StoreBusy where another process works in it."""
    handle = _locked(folder)
    if handle is None:
        raise StoreBusy(f"another process is at work in {folder}", "wait until it has finished and try again")
    try:
        yield folder
    finally:
        discard(folder)
        os.close(handle)


def sweep(folder: Path) -> None:
    """Delete the folder, if there is one, unless somebody works in it."""
    if folder.is_dir():
        with suppress(OSError):
            handle = _locked(folder)
            if handle is not None:
                discard(folder)
                os.close(handle)


def discard(folder: Path) -> None:
    """Delete a folder; its files are overwritten first, as far as the disk lets us."""
    for file in folder.glob("*"):
        with suppress(OSError), file.open("r+b") as opened:
            overwrite(opened.fileno())
    shutil.rmtree(folder, ignore_errors=True)


def overwrite(handle: int) -> None:
    """Zeros over all that an open file holds, down to the disk; what an SSD kept aside is out of reach."""
    left = os.fstat(handle).st_size
    os.lseek(handle, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(handle, _ZEROS[:left])
    os.fsync(handle)


def settle(folder: Path) -> None:
    """A new name in a folder outlives a loss of power, where the system can promise that."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _locked(folder: Path) -> int | None:
    """A handle that holds the lock of the folder, emptied; None where another process does."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        if sys.platform == "win32":
            return os.open(os.devnull, os.O_RDONLY)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:  # whoever had it has just finished
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists() and os.path.samestat(os.fstat(handle), folder.stat()):
                for entry in folder.iterdir():
                    discard(entry) if entry.is_dir() else entry.unlink()
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
