"""Backups: the whole store in one archive, written whole or not at all, and put back whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kinsight.errors import ArchiveError, KinsightError, StoreBusy, StoreDamaged, StoreError, VaultError
from kinsight.store.driver import header
from kinsight.store.file import StoreFile
from kinsight.store.hashes import MANIFEST, copy, manifest, read_manifest
from kinsight.store.keys import Key, KeySource, key_from_environment
from kinsight.store.opening import leftovers
from kinsight.store.pages import is_broken, was_encrypted
from kinsight.store.workplace import settle, workplace, workplace_of

_STORE = "store.db"
_LONGEST_MANIFEST = 1000
_AGAIN = "take another backup, or copy this one again from where it comes"


def backup(store: StoreFile, file: Path, replace: bool = False) -> None:
    """Write all that the store holds into a zip archive; other processes may go on using the store.

    The archive appears under its name when it is whole and on the disk. Of what was forgotten it holds no
    byte: it is made from the rows that are there, not from the pages of the file. It is encrypted where the
    store is, with the same key.

    Raises:
        ArchiveError: there is such a file already and it is not to be replaced, or it cannot be written.
    """
    file = file.absolute()
    if file.resolve() in (store.path, *leftovers(store.path)):
        raise ArchiveError(f"{file} is the store itself", "choose another name for the backup")
    if not replace and (file.exists() or file.is_symlink()):
        raise ArchiveError(f"there is a {file} already", "choose another name, or replace it with --replace")
    with _plain_errors(file), workplace(file.with_name(f".{file.name}.part")) as staging:
        _snapshot(store, staging / _STORE, file)
        _pack(staging / _STORE, staging / "archive")
        (staging / "archive").replace(file)
        settle(file.parent)


def restore(store_path: Path, file: Path, timeout: float = 10.0, keys: Keys | None = None) -> Restored:
    """Put the content of a backup in the place of all that the store holds.

    The archive is unpacked beside the store and examined there: names, sizes, hash, every page, the tables.
    Then all rows are replaced in one transaction, so other processes may have the store open, and whatever
    fails leaves it as it was. A store that is damaged is moved aside, unless it was encrypted and the backup
    is not. Waits `timeout` seconds where another
    process is writing. An encrypted store stays so with its own key,
    whichever the backup has; where there is none, it becomes as the backup is.

    Raises:
        ArchiveError: the file is no backup of a store, is damaged, or holds anything else; or it is encrypted
            and the store is not; or the store is damaged and was encrypted, and it is not.
        StoreError: the store cannot be written, or another process is in the way.
        VaultError: a key is missing or does not fit.
    """
    keys = keys or Keys()
    with _plain_errors(file), workplace(workplace_of(store_path)) as staging:
        fresh = staging / _STORE
        _unpack(file, fresh)
        with _examined(fresh, file, keys.backup) as incoming:
            concepts = incoming.size()["concept"]
            if incoming.encrypted and not store_path.exists():
                incoming.close()
                fresh.replace(store_path)
                settle(store_path.parent)
                return Restored(concepts)
            try:
                with StoreFile.open(store_path, timeout, keys.store) as store:
                    _refuse_to_decrypt(incoming, store, file)
                    store.replace(incoming)
                return Restored(concepts)
            except (StoreDamaged, VaultError) as error:  # of the one that is there: the fresh was examined
                _refuse_to_swap(incoming, store_path, file, error)
                incoming.close()
                return Restored(concepts, _swap(store_path, fresh))


@dataclass(frozen=True)
class Restored:
    """What came out of a backup."""

    concepts: int
    aside: Path | None = None  # where the damaged store is that was there


@dataclass(frozen=True)
class Keys:
    """Who gives the keys at `restore`, where either is encrypted; None: $KINSIGHT_KEY_FILE."""

    store: KeySource | None = None
    backup: KeySource | None = None  # of the archive's path


def _refuse_to_decrypt(incoming: StoreFile, store: StoreFile, file: Path) -> None:
    if incoming.encrypted and not store.encrypted:
        raise ArchiveError(
            f"{file} is encrypted and the store is not, so restoring it would write it down in plain",
            "run `kinsight vault on` first",
        )


def _refuse_to_swap(incoming: StoreFile, store_path: Path, file: Path, error: StoreError) -> None:
    """Unless the store is damaged, and the backup is not in plain where the store was encrypted.

    A key that does not fit may be a wrong one; or the salt is damaged of which it is made, and the backup has
    the same key with the right salt.
    """
    away = f"move {store_path} away, restore again"
    first = header(store_path)
    try:
        alone = first.fresh
        if isinstance(error, VaultError):
            if not (alone and incoming.encrypted and is_broken(store_path, incoming.cipher)):
                mend = f"{error.mend}, and where no key opens it any more, {away}"
                raise VaultError(error.problem, mend) from error
        elif alone and not incoming.encrypted and was_encrypted(store_path):
            problem = f"the store {store_path} is damaged and was encrypted, which {file} is not"
            raise ArchiveError(problem, f"{away}, and run `kinsight vault on`") from error
    finally:
        first.release()


def _snapshot(store: StoreFile, database: Path, file: Path) -> None:
    try:
        store.snapshot(database)
    except (StoreDamaged, StoreBusy):
        raise
    except StoreError as error:  # of the disk that the copy goes to
        problem = f"{file} cannot be written, as there the store cannot be copied"
        raise ArchiveError(problem, "choose a folder that you may write, on a disk with room") from error


def _pack(database: Path, archive: Path) -> None:
    """Nothing is compressed: pictures and vectors hardly shrink, and so no backup can explode."""
    with archive.open("xb") as raw:
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as packed:
            with database.open("rb") as source, packed.open(_entry(_STORE), "w", force_zip64=True) as target:
                sha256 = copy(source, target)
            packed.writestr(_entry(MANIFEST), manifest({_STORE: sha256}))
        raw.flush()
        os.fsync(raw.fileno())
    archive.chmod(0o600)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFREG | 0o600) << 16
    return entry


def _unpack(file: Path, fresh: Path) -> None:
    if not file.is_file():
        raise ArchiveError(f"there is no file {file}", "give the path of a backup")
    try:
        with zipfile.ZipFile(file) as packed:
            entries = _entries(packed, file)
            listed = read_manifest(packed.read(entries[MANIFEST]), str(file))
            with packed.open(entries[_STORE]) as source, fresh.open("xb") as target:
                sha256 = copy(source, target)
                target.flush()
                os.fsync(target.fileno())
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as reason:
        raise ArchiveError(f"{file} is damaged or no backup of a store ({reason})", _AGAIN) from None
    if listed != {_STORE: sha256}:
        raise ArchiveError(f"the content of {file} does not fit its hash", _AGAIN)


def _entries(packed: zipfile.ZipFile, file: Path) -> dict[str, zipfile.ZipInfo]:
    """The two plain files that a backup holds, as `_pack` writes them; whatever else is refused."""
    entries = {entry.filename: entry for entry in packed.infolist()}
    plain = all(
        entry.compress_type == zipfile.ZIP_STORED
        and not entry.flag_bits & 1  # encrypted
        and stat.S_IFMT(entry.external_attr >> 16) == stat.S_IFREG
        and entry.file_size == entry.compress_size <= file.stat().st_size
        for entry in packed.infolist()
    )
    names = sorted(entry.filename for entry in packed.infolist())
    if names != sorted((_STORE, MANIFEST)) or not plain:
        raise ArchiveError(f"{file} is no backup of a store: it holds other things", _AGAIN)
    if entries[MANIFEST].file_size > _LONGEST_MANIFEST:
        raise ArchiveError(f"{MANIFEST} of {file} is too long", _AGAIN)
    return entries


def _examined(fresh: Path, file: Path, key: KeySource | None) -> StoreFile:
    """A sound store with the tables of this version, and nothing beside them."""

    def key_of_backup(path: Path) -> Key:
        return (key or key_from_environment)(file)

    try:
        store = StoreFile.open(fresh, key=key_of_backup)
        try:
            store.require_own_tables()
            faults = store.check()
        except BaseException:
            store.close()
            raise
    except VaultError as error:
        raise VaultError(error.problem.replace(f"the store {fresh}", str(file)), error.mend) from None
    except StoreError as error:
        reason = error.problem.replace(str(fresh), "in it")
        raise ArchiveError(f"{file} cannot be restored: {reason}", error.mend) from None
    if faults:
        store.close()
        raise ArchiveError(f"{file} cannot be restored: the store in it is damaged ({faults[0]})", _AGAIN)
    return store


def _swap(store_path: Path, fresh: Path) -> Path:
    """Move a damaged store aside and the fresh one into its place; at no moment is there none."""
    aside = next(
        path
        for number in range(1, 1000)
        if not (path := store_path.with_name(f"{store_path.name}.damaged-{number}")).exists()
    )
    for path, copied in zip((store_path, *leftovers(store_path)), (aside, *leftovers(aside)), strict=True):
        if path.exists():
            shutil.copy2(path, copied)
    for path in leftovers(store_path):  # the log of the damaged one must not meet the fresh one
        path.unlink(missing_ok=True)
    fresh.replace(store_path)
    settle(store_path.parent)
    return aside


@contextmanager
def _plain_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except KinsightError:
        raise
    except OSError as reason:
        mend = "free some space on that disk" if reason.errno in (errno.ENOSPC, errno.EDQUOT) else _WRITABLE
        raise ArchiveError(f"{file} cannot be written or read ({reason.strerror})", mend) from None


_WRITABLE = "choose a folder that exists and that you may write"
