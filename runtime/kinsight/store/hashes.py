"""The list of files and their SHA-256 in every backup and exported folder, as `sha256sum` writes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import IO

from kinsight.errors import ArchiveError

MANIFEST = "manifest.sha256"
"""Name of the file with the list."""
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)")
_CHUNK = 1 << 20


def manifest(hashes: Mapping[str, str]) -> bytes:
    """The file: a line of hash, two spaces and name for each; `sha256sum -c` reads it."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in hashes.items()).encode()


def read_manifest(data: bytes, where: str) -> dict[str, str]:
    """Hash by name; ArchiveError about `where` unless every line is one of `manifest`."""
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = []
    found = [_LINE.fullmatch(line) for line in lines[:-1]]
    hashes = {match[2]: match[1] for match in found if match}
    if not found or len(hashes) != len(found) or lines[-1]:
        raise ArchiveError(f"{MANIFEST} of {where} is damaged", "copy it again from where it comes")
    return hashes


def copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream to its end; return the SHA-256 of what was copied, hex."""
    sha256 = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        sha256.update(chunk)
        target.write(chunk)
    return sha256.hexdigest()
