"""The private folder of the user's data: made 0700, tried by writing, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from kinsight.errors import HomeError


def expanded(path: str | Path) -> Path:
    """With the user's folder for a leading "~"; as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@dataclass(frozen=True)
class Home:
    """Where everything that the user teaches is kept."""

    folder: Path

    @property
    def store(self) -> Path:
        """The SQLite file."""
        return self.folder / "store.db"

    @property
    def index(self) -> Path:
        """Folder of the vector index; may be deleted at any time."""
        return self.folder / "index"

    @property
    def cache(self) -> Path:
        """Folder that may be deleted at any time."""
        return self.folder / "cache"

    @property
    def readings(self) -> Path:
        """Folder of what the language model made of pictures and notes."""
        return self.cache / "llm"

    def drop_caches(self) -> None:
        """Removes what was made from the store and the user's pictures, as it holds something of everybody.

        It goes at `forget` and when the store is encrypted. HomeError where a file cannot be removed.
        """
        from shutil import rmtree

        made = [self.readings, *self.index.glob("*")]
        try:
            for path in (path for path in made if path.exists()):
                rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as cause:
            problem = f"{cause.filename} cannot be removed ({cause.strerror})"
            raise HomeError(
                problem, f"remove what is in {self.readings} and {self.index} yourself"
            ) from cause

    @property
    def bundles(self) -> Path:
        """Folder with one folder per installed bundle."""
        return self.folder / "bundles"

    @property
    def token(self) -> Path:
        """The file with the server's secret."""
        return self.folder / "token"


def open_home(path: Path | None = None) -> Home:
    """The home folder: `path`, else $KINSIGHT_HOME, else the platform's data folder; made where it is absent.

    A home that other users could look into is closed to them. HomeError where it is no folder, belongs to
    another user or cannot be written.
    """
    folder = expanded(path or _default_folder()).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(folder)
        _try_to_write(folder)
        home = Home(folder)
        for inner in (home.cache, home.bundles, home.index):
            inner.mkdir(mode=0o700, exist_ok=True)
    except OSError as cause:
        why = "not a folder" if isinstance(cause, FileExistsError) else cause.strerror
        mend = "free some space on that disk" if cause.errno in (errno.ENOSPC, errno.EDQUOT) else _MEND
        raise HomeError(
            f"the home folder {folder} cannot be used ({cause.filename or folder}: {why})", mend
        ) from None
    return home


_MEND = "make it a folder that you can write, or set KINSIGHT_HOME to one"


def _default_folder() -> Path:
    import platformdirs

    chosen = os.environ.get("KINSIGHT_HOME")
    return Path(chosen) if chosen else platformdirs.user_data_path("kinsight", appauthor=False)


def _make_private(folder: Path) -> None:
    if not hasattr(os, "geteuid"):  # no owners and modes of this kind on Windows
        return
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise HomeError(
            f"the home folder {folder} belongs to another user", "run as that user, or set KINSIGHT_HOME"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)


def _try_to_write(folder: Path) -> None:
    from tempfile import TemporaryFile

    with TemporaryFile(dir=folder, buffering=0) as probe:
        probe.write(b"kinsight")


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file whole or not at all; OSError where that fails."""
    from tempfile import mkstemp

    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        part.chmod(mode)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
