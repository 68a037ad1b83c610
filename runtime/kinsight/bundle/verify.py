"""Checks a bundle's hashes: in full, or at start by size and time against a stamp of the last full check."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from kinsight.bundle.files import AGAIN
from kinsight.bundle.parts import Bundle
from kinsight.errors import BundleError
from kinsight.home import write_private

_CHUNK = 1 << 20  # bytes


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_hashes(bundle: Bundle) -> None:
    """Hash every part in full; BundleError names the first file that is not what bundle.toml says."""
    for path, sha256 in bundle.hashes():
        try:
            found = sha256_of(path)
        except OSError as cause:
            raise BundleError(f"{path} cannot be read ({cause.strerror})", AGAIN) from None
        if found != sha256:
            raise BundleError(f"{path} is damaged, its sha256 is not the one in bundle.toml", AGAIN)


def verify_bundle(bundle: Bundle, stamp_folder: Path) -> bool:
    """Check the hashes unless size, time and expected hash of every file are those of the last check.

    Returns whether hashes were computed; BundleError as `check_hashes`. A stamp folder that cannot be
    written costs a full check at every start, no more.
    """
    now = _stamp(bundle)  # before hashing, so that a change meanwhile shows at the next start
    if _read_stamp(_stamp_file(bundle, stamp_folder)) == now:
        return False
    check_hashes(bundle)
    _write_stamp(bundle, stamp_folder, now)
    return True


def stamp_bundle(bundle: Bundle, stamp_folder: Path) -> None:
    """Notes that every file was hashed, for who has just done so while writing it."""
    _write_stamp(bundle, stamp_folder, _stamp(bundle))


def _stamp_file(bundle: Bundle, stamp_folder: Path) -> Path:
    name = hashlib.sha256(f"{bundle.folder.resolve()}\n{bundle.name}".encode()).hexdigest()
    return stamp_folder / f"bundle-{name}.json"


def _write_stamp(bundle: Bundle, stamp_folder: Path, stamp: list[list[str | int]]) -> None:
    with suppress(OSError):
        stamp_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(_stamp_file(bundle, stamp_folder), json.dumps(stamp).encode())


def _stamp(bundle: Bundle) -> list[list[str | int]]:
    """Path, size in bytes, time of change in ns and expected sha256 of every file."""
    rows: list[list[str | int]] = []
    for path, sha256 in bundle.hashes():
        try:
            status = path.stat()
        except OSError as cause:
            raise BundleError(f"{path} cannot be read ({cause.strerror})", AGAIN) from None
        rows.append([path.relative_to(bundle.folder).as_posix(), status.st_size, status.st_mtime_ns, sha256])
    return rows


def _read_stamp(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
