"""Installs bundles: pulled from the catalogue, or brought as a folder or an archive; whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from kinsight.bundle import Bundle, check_hashes, installed_bundles, read_bundle, stamp_bundle
from kinsight.bundle.files import BUNDLE_TOML
from kinsight.bundle.place import put_in_place
from kinsight.catalogue.archive import Source, open_source
from kinsight.catalogue.download import RESERVE, Patience, Told, download
from kinsight.catalogue.entries import Entry, RemoteFile
from kinsight.catalogue.fit import gigabytes
from kinsight.catalogue.staging import Shelf, alone, hashes_of, share, staging
from kinsight.errors import BundleError, PullError
from kinsight.home import Home
from kinsight.tomlwrite import toml_bytes


@dataclass(frozen=True)
class Order:
    """How a bundle is to be pulled."""

    mirror: str | None = None  # takes the place of "https://HOST" in every address
    source: Path | None = None  # a folder or an archive that has the files: nothing is downloaded
    accepted: Sequence[str] = ()  # licences
    again: bool = False  # even where it is installed already
    patience: Patience = field(default_factory=Patience)


def pull(entry: Entry, home: Home, order: Order, told: Told) -> tuple[Bundle, bool]:
    """Installs a bundle of the catalogue; it, and whether anything had to be done.

    Raises PullError where a licence is not accepted, the disk is too small, or a file cannot be had or is
    another than the catalogue's. What was downloaded is kept for the next try.
    """
    _check_licences(entry, order.accepted)
    remote = [replace(file, url=mirrored(file.url, order.mirror)) for file in entry.files]
    with alone(home):
        if not order.again and (there := _installed(entry, home)):
            return there, False
        shelf = Shelf(home)
        _check_room(entry, shelf)
        if order.source:
            _bring(entry, shelf, open_source(order.source), told)
        for file in remote:
            if not shelf.find(file.sha256):
                download(file, shelf.path(file.sha256), told, order.patience)
        with staging(home, entry.name) as folder:
            for file in entry.files:
                share(shelf.path(file.sha256), folder / file.name)
            for part in entry.parts:
                for name, content in part.texts.items():
                    (folder / name).write_text(content, encoding="utf-8")
            (folder / BUNDLE_TOML).write_bytes(toml_bytes(entry.tables()))
            bundle = _finish(folder, home.bundles / entry.name, home)
        shelf.clear({file.sha256 for file in entry.files})
        return bundle, True


def add(path: Path, home: Home, again: bool = False) -> Bundle:
    """Installs a bundle that lies in a folder or an archive, under the name that it has itself.

    Raises PullError where the archive is hostile or damaged, a bundle of that name is there already and
    not to be replaced, or the disk is too small; BundleError where the bundle is against the contract.
    """
    with alone(home), staging(home, "added") as folder:
        source = open_source(path)
        room = sum(source.sizes.values())
        _require_room(room, home.bundles)
        source.extract_bundle(folder)
        bundle = read_bundle(folder)
        check_hashes(bundle)
        target = home.bundles / bundle.name
        if target.exists() and not again:
            raise PullError(
                f"there is a bundle {bundle.name} already",
                f"pass --replace, or remove it with `kinsight models remove {bundle.name}`",
            )
        return _finish(folder, target, home)


def remove(name: str, home: Home) -> int:
    """Deletes an installed bundle; how many bytes that frees. BundleError where there is none."""
    with alone(home):
        installed = installed_bundles(home.bundles)
        if name not in installed:
            there = f"installed are: {', '.join(installed)}" if installed else "none is installed"
            raise BundleError(f"there is no installed bundle {name!r}", there)
        folder, gone = home.bundles / name, home.bundles / f".{name}.gone"
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        try:
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)  # gone in one step, however long the rest takes
            shutil.rmtree(gone)
        except OSError as cause:
            raise PullError(f"{folder} cannot be removed ({cause.strerror})", "remove it yourself") from None
        return size


def clean(home: Home) -> int:
    """Deletes what was downloaded and not installed; how many bytes that frees."""
    with alone(home):
        shelf = Shelf(home)
        size = shelf.size()
        try:
            for file in shelf.folder.iterdir():
                file.unlink()
        except OSError as cause:
            problem = f"{shelf.folder} cannot be emptied ({cause.strerror})"
            raise PullError(problem, "empty it yourself") from None
        return size


def mirrored(url: str, mirror: str | None) -> str:
    """The address on a mirror, which has the same paths as the server that it mirrors."""
    if mirror is None:
        return url
    if not re.match(r"https://[^/]|http://127\.0\.0\.1(:\d+)?(/|$)", mirror):
        raise PullError(f"the mirror {mirror!r} is not encrypted", "name one that begins with https://")
    path = url.partition("://")[2].partition("/")[2]
    return f"{mirror.rstrip('/')}/{path}"


def missing_bytes(entry: Entry, home: Home) -> int:
    """What is still to be downloaded for it."""
    shelf = Shelf(home)
    return sum(max(0, file.size - shelf.present(file.sha256)) for file in entry.files)


def _check_licences(entry: Entry, accepted: Sequence[str]) -> None:
    missing = [licence for licence in entry.to_accept if licence not in accepted]
    if missing:
        options = " ".join(f"--accept '{licence}'" for licence in missing)
        raise PullError(
            f"{entry.name} is under {' and '.join(missing)}, which is not free for everything",
            f"read it, and if you agree run `kinsight pull {entry.name} {options}`",
        )


def _installed(entry: Entry, home: Home) -> Bundle | None:
    """The bundle, where it is installed with just the files of the catalogue."""
    with suppress(BundleError):
        there = read_bundle(home.bundles / entry.name)
        missing = {file.sha256 for file in entry.files} - dict(hashes_of(there)).keys()
        if there.version == entry.version and not missing:
            check_hashes(there)
            return there
    return None


def _check_room(entry: Entry, shelf: Shelf) -> None:
    missing = sum(max(0, file.size - shelf.present(file.sha256)) for file in entry.files)
    _require_room(missing, shelf.folder)


def _require_room(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed + RESERVE > free:
        raise PullError(
            f"{gigabytes(needed)} are to be written and {gigabytes(RESERVE)} kept free, and the disk has "
            f"{gigabytes(free)} free",
            "free some space, choose a smaller bundle, or keep your data on another disk with --home",
        )


def _bring(entry: Entry, shelf: Shelf, source: Source, told: Told) -> None:
    """Takes the files of a bundle out of a folder or an archive, whatever their names are there."""
    wanted = {file.sha256: file for file in entry.files if not shelf.find(file.sha256)}
    source.collect({sha256: file.size for sha256, file in wanted.items()}, shelf.path, told)
    lacking: list[RemoteFile] = [file for sha256, file in wanted.items() if not shelf.find(sha256)]
    if lacking:
        names = ", ".join(f"{file.name} ({file.url})" for file in lacking)
        raise PullError(
            f"{source.path} lacks {names}", "get them on a computer with a network, and bring all of them"
        )


def _finish(staged: Path, target: Path, home: Home) -> Bundle:
    read_bundle(staged)
    put_in_place(staged, target)
    bundle = read_bundle(target)
    stamp_bundle(bundle, home.cache)
    return bundle
