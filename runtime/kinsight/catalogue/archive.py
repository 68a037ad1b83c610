"""Takes files out of a folder, a zip or a tar archive that a user brings, and trusts none of them."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO

from kinsight.bundle.files import BUNDLE_TOML
from kinsight.catalogue.download import Told
from kinsight.catalogue.unxz import Unxz
from kinsight.errors import PullError
from kinsight.home import expanded

_CHUNK = 1 << 20  # bytes
_MOST_FILES = 10_000
_MOST_IN_A_BUNDLE = 64
_BOMB = 50
"""Models hardly shrink; an archive that unpacks to so many times its own size holds none."""
_XZ, _GZIP, _BZIP2 = b"\xfd7zXZ\x00", b"\x1f\x8b", b"BZh"
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_SMALL = 100_000_000  # bytes that any archive may unpack to
_MOST_IN_A_HEADER = 1 << 16  # bytes of a long name or of what is said about a file: read into memory
_MOST_IN_HEADERS = 1 << 22  # characters of all of them
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_DAMAGES = (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RecursionError, zlib.error)
_TRUSTED = "get the archive again, from somebody you trust"


@dataclass(frozen=True)
class Source:
    """The regular files in a folder or an archive, by their path there."""

    path: Path
    sizes: Mapping[str, int]  # path inside, with "/" -> bytes
    read: Callable[
        [], Iterator[tuple[str, IO[bytes]]]
    ]  # every file once, in the order that suits the archive
    links: frozenset[str] = frozenset()  # which of them are links of a folder, that may lead anywhere

    def extract_bundle(self, folder: Path) -> None:
        """Writes the files that lie beside the only bundle.toml into `folder`."""
        own = self.sizes.keys() - self.links
        heads = [name for name in own if name.rpartition("/")[2] == BUNDLE_TOML]
        if len(heads) != 1:
            raise PullError(
                f"{self.path} holds {len(heads) or 'no'} bundles",
                f"name one with a single {BUNDLE_TOML} in it",
            )
        root = heads[0].removesuffix(BUNDLE_TOML)
        inner = {name for name in own if name.startswith(root)}
        if len(inner) > _MOST_IN_A_BUNDLE:
            raise PullError(f"{self.path} holds {len(inner)} files beside its {BUNDLE_TOML}", _TRUSTED)
        with _damage(self.path):
            for name, data in self.read():
                if name in inner:
                    target = folder / name.removeprefix(root)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("xb") as out:
                        for chunk in _chunks(data, self.sizes[name], self.path):
                            out.write(chunk)

    def collect(self, wanted: Mapping[str, int], where: Callable[[str], Path], told: Told) -> None:
        """Writes what has a wanted hash to `where(sha256)`; `wanted` has sizes, which save most hashing."""
        with _damage(self.path):
            for name, data in self.read():
                size = self.sizes[name]
                if any(abs(size - about) <= about // 100 for about in wanted.values()):
                    self._keep_wanted((name, data), wanted, where, told)

    def _keep_wanted(
        self,
        entry: tuple[str, IO[bytes]],
        wanted: Mapping[str, int],
        where: Callable[[str], Path],
        told: Told,
    ) -> None:
        name, data = entry
        part, digest, done = where("brought").with_suffix(".part"), hashlib.sha256(), 0
        with part.open("wb") as out:
            for chunk in _chunks(data, self.sizes[name], self.path):
                out.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                told(name, done, self.sizes[name])
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() in wanted:
            part.replace(where(digest.hexdigest()))
        part.unlink(missing_ok=True)


def open_source(path: str | Path) -> Source:
    """What is in a folder or an archive. PullError where there is none, it is damaged, or it is hostile."""
    path = expanded(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise PullError(f"there is no folder or archive {path}", "check the path")
    try:
        if zipfile.is_zipfile(path):
            return _zip(path)
        if _is_tar(path):
            return _tar(path)
    except (*_DAMAGES, OSError, ValueError) as cause:
        raise _damaged(path, cause) from None
    raise PullError(f"{path} is no zip or tar archive", "name one, or a folder")


def _folder(path: Path) -> Source:
    """Links to files are there too, as in a hub's cache: what has a wanted hash may come from anywhere."""
    files = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}
    sizes = {name: file.stat().st_size for name, file in files.items()}
    links = frozenset(name for name, file in files.items() if file.is_symlink())

    def read() -> Iterator[tuple[str, IO[bytes]]]:
        for name, file in files.items():
            with file.open("rb") as data:
                yield name, data

    return Source(path, sizes, read, links)


def _zip(path: Path) -> Source:
    sizes: dict[str, int] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.flag_bits & 1:
                raise PullError(f"{path} is encrypted", "unpack it yourself and name the folder")
            if entry.compress_type not in _PACKINGS:
                raise PullError(f"{path} is packed in an uncommon way", "pack it again, as zip usually does")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise PullError(f"{path} holds a link or a device, {entry.filename!r}", _TRUSTED)
            if not entry.is_dir():
                _take(entry.filename, entry.file_size, sizes, path)

    def read() -> Iterator[tuple[str, IO[bytes]]]:
        with zipfile.ZipFile(path) as archive:
            for name in sizes:
                with archive.open(name) as data:
                    yield name, data

    return Source(path, sizes, read)


def _tar(path: Path) -> Source:
    sizes: dict[str, int] = {}
    said = 0
    with _open_tar(path) as archive:
        for count, member in enumerate(archive):
            said += _said(member)
            if count > _MOST_FILES or said > _MOST_IN_HEADERS:
                raise PullError(f"{path} holds too many files, folders and words about them", _TRUSTED)
            if not (member.isreg() or member.isdir()):
                raise PullError(f"{path} holds a link or a device, {member.name!r}", _TRUSTED)
            if member.isreg():
                _take(member.name, member.size, sizes, path)

    def read() -> Iterator[tuple[str, IO[bytes]]]:
        with _open_tar(path) as archive:
            for member in archive:
                data = archive.extractfile(member) if member.isreg() else None
                if data:
                    with closing(data):
                        yield member.name, data

    return Source(path, sizes, read)


class _Header(tarfile.TarInfo):
    """One that is looked at before what belongs to it is read into memory; PullError for a bomb."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """Of the 512 bytes of a header."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _HEADERS and header.size > _MOST_IN_A_HEADER:
            raise PullError(f"the archive has a name or a header of {header.size} bytes", _TRUSTED)
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse()
        return header

    def _proc_gnusparse_10(self, *_: object) -> None:
        """Called by tarfile, whose own one reads a list of any length."""
        raise _sparse()


def _sparse() -> PullError:
    return PullError("the archive has a file with holes in it", "pack it again without --sparse")


def _is_tar(path: Path) -> bool:
    """As tarfile.is_tarfile, which reads all that the first header asks for."""
    try:
        with _open_tar(path):
            return True
    except tarfile.ReadError:
        return False


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Plain, or as gzip, bzip2 or xz, which is known from its first bytes and not tried out."""
    with path.open("rb") as data:
        begun = data.read(len(_XZ))
        data.seek(0)
        if begun == _XZ:
            with tarfile.open(
                fileobj=io.BufferedReader(Unxz(data, path)), mode="r|", tarinfo=_Header
            ) as archive:
                yield archive
        elif begun[:2] == _GZIP:
            with tarfile.open(fileobj=data, mode="r:gz", tarinfo=_Header) as archive:
                yield archive
        elif begun[:3] == _BZIP2:
            with tarfile.open(fileobj=data, mode="r:bz2", tarinfo=_Header) as archive:
                yield archive
        else:
            with tarfile.open(fileobj=data, mode="r:", tarinfo=_Header) as archive:
                yield archive


def _said(member: tarfile.TarInfo) -> int:
    """Characters that are kept of its headers."""
    texts = (member.name, member.linkname, *member.pax_headers, *member.pax_headers.values())
    return sum(len(text) for text in texts)


def _take(name: str, size: int, sizes: dict[str, int], path: Path) -> None:
    """Notes a file of an archive, as it is met: a bomb is refused before it is unpacked to be read on."""
    inner = PureWindowsPath(name)  # takes "/" and "\\" apart
    if inner.anchor or ".." in inner.parts or "\\" in name or "\0" in name:
        raise PullError(f"{path} holds {name!r}, which leads out of its folder", _TRUSTED)
    if name in sizes:
        raise PullError(f"{path} holds {name!r} twice", _TRUSTED)
    sizes[name] = size
    total = sum(sizes.values())
    if len(sizes) > _MOST_FILES or (total > _SMALL and total > _BOMB * path.stat().st_size):
        raise PullError(f"{path} would unpack to {total / 1e6:.0f} MB or more, which no models do", _TRUSTED)


def _chunks(data: IO[bytes], size: int, path: Path) -> Iterator[bytes]:
    """Of as many bytes as the archive's list says, neither fewer nor more."""
    done = 0
    while chunk := data.read(_CHUNK):
        done += len(chunk)
        if done > size:
            break
        yield chunk
    if done != size:
        raise PullError(f"{path} has a file of another size than its list says", _TRUSTED)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as cause:
        raise _damaged(path, cause) from None
    except OSError as cause:
        if cause.errno is None:  # of gzip and bzip2, and not of the disk
            raise _damaged(path, cause) from None
        raise


def _damaged(path: Path, cause: Exception) -> PullError:
    return PullError(f"{path} cannot be unpacked ({cause})", "get it again")
