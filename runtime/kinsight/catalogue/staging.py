"""Where a bundle is put together before it gets its name, and where downloads wait; one process at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kinsight.bundle import Bundle, installed_bundles, read_bundle
from kinsight.bundle.verify import sha256_of
from kinsight.errors import BundleError, PullError
from kinsight.home import Home

_DISK = "free some space on that disk, and see that you may write there"


class Shelf:
    """Files by their sha256: what was downloaded already, and what installed bundles have."""

    def __init__(self, home: Home) -> None:
        self.folder = home.cache / "pull"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._installed = dict(_hashes(home.bundles))
        self._whole: set[str] = set()  # what was hashed by this process

    def path(self, sha256: str) -> Path:
        """Where a file is when it is whole."""
        return self.folder / sha256

    def find(self, sha256: str) -> bool:
        """Whether it is whole, and what its name says; one of an installed bundle is taken over.

        What has been spoiled since it was put there is removed, and is to be had again.
        """
        if sha256 in self._whole:
            return True
        if self.path(sha256).is_file():
            if sha256_of(self.path(sha256)) == sha256:
                self._whole.add(sha256)
                return True
            self.path(sha256).unlink()
        source = self._installed.get(sha256)
        if source is None or not source.is_file() or sha256_of(source) != sha256:
            return False
        share(source, self.path(sha256))
        self._whole.add(sha256)
        return True

    def present(self, sha256: str) -> int:
        """Bytes of it that are on this disk, whole or in part."""
        for path in (self.path(sha256), self.folder / f"{sha256}.part", self._installed.get(sha256)):
            if path and path.is_file():
                return path.stat().st_size
        return 0

    def size(self) -> int:
        """Bytes that lie here."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def clear(self, hashes: set[str]) -> None:
        """Removes what is installed now."""
        for sha256 in hashes:
            self._whole.discard(sha256)
            self.path(sha256).unlink(missing_ok=True)


def share(source: Path, target: Path) -> None:
    """The same file under another name where the disk can do that, else a copy; OSError where neither."""
    with suppress(OSError):
        target.unlink(missing_ok=True)
        os.link(source, target)
        return
    part = target.with_name(f"{target.name}.copy")
    shutil.copyfile(source, part)
    part.replace(target)


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Only one process at a time changes what is installed. PullError where another one does."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    home.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home.cache / "pull.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PullError("another kinsight is installing a bundle", "wait until it is done") from None
        yield


@contextmanager
def staging(home: Home, name: str) -> Iterator[Path]:
    """A folder beside the bundles that is gone afterwards unless it was renamed; PullError for OSError."""
    folder = home.bundles / f".{name}.new"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        yield folder
    except OSError as cause:
        raise PullError(f"{home.bundles} cannot be written ({cause.strerror or cause})", _DISK) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hashes_of(bundle: Bundle) -> Iterator[tuple[str, Path]]:
    """Of all that is downloaded for a bundle; the tokenizer's hash is in no bundle.toml."""
    yield from ((sha256, path) for path, sha256 in bundle.hashes())
    if bundle.embedder.text:
        yield sha256_of(bundle.embedder.text.tokenizer), bundle.embedder.text.tokenizer


def _hashes(bundles: Path) -> Iterator[tuple[str, Path]]:
    for name in installed_bundles(bundles):
        with suppress(BundleError, OSError):
            yield from hashes_of(read_bundle(bundles / name))
