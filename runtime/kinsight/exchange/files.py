"""Files of an exported folder: written whole or not at all, read with suspicion."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kinsight.errors import ArchiveError

MAX_PICTURE_BYTES = 20_000_000
MAX_JSON_BYTES = 200_000_000
Progress = Callable[[str, int, int], None]
"""What is done, how many of it are done, how many there are."""
_AGAIN = "export it again, or copy it again from where it comes"


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A private folder to be filled, which gets its name when all is in it.

    ArchiveError where there is something of that name already, or it cannot be written.
    """
    folder = folder.absolute()
    draft = folder.with_name(f".{folder.name}.part")
    try:
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
            raise ArchiveError(f"there is a {folder} already", "choose the name of a new folder")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        yield draft
        draft.replace(folder)
    except OSError as reason:
        mend = "choose a folder that may be written, on a disk with room"
        raise ArchiveError(f"{folder} cannot be written ({reason.strerror})", mend) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write(path: Path, data: bytes) -> str:
    """Write a new file; return its SHA-256, hex."""
    with path.open("xb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def read(path: Path, most: int) -> bytes:
    """A plain file of at most so many bytes, no link; ArchiveError for anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ArchiveError(f"{path} is no plain file", _AGAIN)
            if status.st_size > most:
                raise ArchiveError(f"{path} has more than {most / 1e6:.0f} MB", _AGAIN)
            return file.read(most)
    except FileNotFoundError:
        raise ArchiveError(f"{path} is missing", _AGAIN) from None
    except (OSError, ValueError) as reason:  # a link is an OSError here, a null character a ValueError
        words = reason.strerror if isinstance(reason, OSError) else str(reason)
        raise ArchiveError(f"{path} cannot be read or is a link ({words})", _AGAIN) from None


def verified(path: Path, sha256: str, most: int) -> bytes:
    """The same, with a look at its hash."""
    data = read(path, most)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArchiveError(f"{path} was changed: it does not fit its hash", _AGAIN)
    return data


def names_under(folder: Path) -> list[str]:
    """Every file below a folder by its path in it, except hidden ones, which systems leave everywhere.

    ArchiveError where there is a link, a device, or a folder in a folder.
    """
    found: list[str] = []
    try:
        for entry in _shown(folder):
            if entry.is_dir(follow_symlinks=False):
                found += [f"{entry.name}/{_require_plain(inner)}" for inner in _shown(Path(entry.path))]
            else:
                found.append(_require_plain(entry))
    except OSError as reason:
        raise ArchiveError(
            f"{folder} cannot be read ({reason.strerror})", "give an exported folder"
        ) from None
    return sorted(found)


def _shown(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]


def _require_plain(entry: os.DirEntry[str]) -> str:
    if not entry.is_file(follow_symlinks=False):
        raise ArchiveError(f"{entry.path} is a link or no plain file", "take it out of the folder")
    return entry.name
