"""The key of an encrypted store: made from a passphrase or a key file, never shown, never written down."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path

from kinsight.errors import VaultError

KEY_FILE = "KINSIGHT_KEY_FILE"
"""The variable that names the key file where nobody is asked."""
_MARK = b"kinsvlt1"
_SALT_BYTES = 16
_MOST_BYTES = 4096
_KEY_BYTES = 32
COST = {"n": 2**15, "r": 8, "p": 3}
"""Of scrypt, part of the format: 32 MB three times over, as OWASP's cheat sheet for passwords has it."""


class Key:
    """What opens an encrypted store.

    SQLCipher gets 256 bits that scrypt makes of the secret and of the salt, which are the first 16 bytes of
    the file. They take some tenths of a second, so they are kept.
    """

    def __init__(self, secret: bytes) -> None:
        """VaultError where the secret is empty."""
        if not secret:
            raise VaultError("the key is empty", "give a passphrase, or a key file with something in it")
        self._secret = secret
        self._made: dict[bytes, str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "Key(...)"

    @staticmethod
    def of_passphrase(text: str) -> Key:
        """What is typed; in Unicode's normal form NFC, as keyboards differ in how they compose accents."""
        return Key(unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape"))

    @staticmethod
    def of_file(path: Path) -> Key:
        """What a file holds, without the line break at its end; a passphrase in it is as good as typed.

        VaultError where it cannot be read, is empty, or is too big for a key.
        """
        try:
            with path.open("rb") as file:
                secret = file.read(_MOST_BYTES + 1)
        except (OSError, ValueError) as reason:
            words = reason.strerror if isinstance(reason, OSError) else str(reason)
            raise VaultError(
                f"the key file {path} cannot be read ({words})", f"name another, or set {KEY_FILE}"
            ) from None
        if len(secret) > _MOST_BYTES:
            problem = f"the key file {path} has more than {_MOST_BYTES} bytes"
            raise VaultError(problem, "name the file that `kinsight vault on` made")
        bare = secret.removesuffix(b"\n").removesuffix(b"\r")
        try:
            return Key.of_passphrase(bare.decode("utf-8")) if bare else Key(bare)
        except UnicodeDecodeError:
            return Key(bare)
        except VaultError:
            raise VaultError(f"the key file {path} is empty", "name another one") from None

    def cipher(self, salt: bytes) -> str:
        """What SQLCipher is given for a file with this salt: key and salt in hexadecimal digits."""
        with self._lock:
            if salt not in self._made:
                made = hashlib.scrypt(self._secret, salt=salt, maxmem=1 << 26, dklen=_KEY_BYTES, **COST)
                self._made[salt] = f"x'{made.hex()}{salt.hex()}'"
            return self._made[salt]


KeySource = Callable[[Path], Key]
"""Gives the key of the file at a path; called only where that is encrypted."""


def key_from_environment(path: Path) -> Key:
    """The one in $KINSIGHT_KEY_FILE; VaultError where that is not set."""
    named = os.environ.get(KEY_FILE)
    if not named:
        raise VaultError(
            f"{path} is encrypted and no key was given",
            f"run this on a terminal to type its passphrase, or name a key file by --key-file or {KEY_FILE}",
        )
    return Key.of_file(Path(named).expanduser())


def make_key_file(path: Path) -> None:
    """Write a new random key into a new file that only you may read; VaultError where that fails."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(f"{secrets.token_hex(_KEY_BYTES)}\n".encode())
            file.flush()
            os.fsync(handle)
    except OSError as reason:
        raise VaultError(
            f"the key file {path} cannot be made ({reason.strerror})", "name a file that you may write"
        ) from None


def new_salt() -> bytes:
    """The first bytes of a store to be encrypted: by their beginning it is known as one."""
    return _MARK + secrets.token_bytes(_SALT_BYTES - len(_MARK))


def salt_of(header: bytes) -> bytes | None:
    """The salt in the first bytes of a file; None where that is no encrypted store."""
    return header[:_SALT_BYTES] if header.startswith(_MARK) and len(header) >= _SALT_BYTES else None
