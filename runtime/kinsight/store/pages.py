"""Reads the pages of an encrypted file without SQLCipher: which key they fit, and whether it was ever one."""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from pathlib import Path

from kinsight.store.keys import salt_of

PAGE = 4096  # bytes, SQLCipher's own choice
_SALT, _SEAL = 16, 64  # bytes at the beginning of the file, and at the end of every page
_MASK, _ROUNDS = 0x3A, 2  # of the salt, and of the function that makes the seal's key of the cipher's
_LOOKED_AT = 32  # pages
_RANDOM = 0.98  # of their size is left of random bytes that are compressed; of a store's first pages a third


def is_broken(path: Path, cipher: str) -> bool:
    """The key is right, as pages fit it, but the beginning of the file is not.

    Every page ends in an HMAC-SHA512 of what is in it and of its number (SQLCipher 4, "Security Design").
    `cipher` as `Key.cipher` gives it. Only for a file that this process has not open.
    """
    pages = _pages(path)
    if not pages:
        return False
    key, salt = (bytes.fromhex(part) for part in re.findall(r"([0-9a-f]{64})([0-9a-f]{32})", cipher)[0])
    seal_key = hashlib.pbkdf2_hmac("sha512", key, bytes(byte ^ _MASK for byte in salt), _ROUNDS, len(key))

    def fits(number: int, page: bytes) -> bool:
        sealed = page[:-_SEAL] + number.to_bytes(4, "little")
        return hmac.digest(seal_key, sealed, "sha512") == page[-_SEAL:]

    first = pages[0][:_SALT] == salt and fits(1, pages[0][_SALT:])
    return not first and any(fits(number, page) for number, page in enumerate(pages[1:], 2))


def was_encrypted(path: Path) -> bool:
    """By its mark; or where that is lost, as all is random where a plain store has nearly empty pages."""
    pages = _pages(path)
    rest = b"".join(pages[1:])
    marked = bool(pages) and salt_of(pages[0]) is not None
    return marked or (bool(rest) and len(zlib.compress(rest, 1)) >= _RANDOM * len(rest))


def _pages(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        data = file.read(PAGE * _LOOKED_AT)
    return [data[start : start + PAGE] for start in range(0, len(data) - PAGE + 1, PAGE)]
