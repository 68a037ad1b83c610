"""Backups: whole or not at all, nothing of the forgotten goes into them, nothing hostile comes out."""

import os
import resource
import shutil
import sqlite3
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from children import ended, files, filled, held, in_a_child
from crops import crop
from kinsight.errors import ArchiveError, KinsightError, StoreBusy, StoreError
from kinsight.exchange import export_folder, read_folder
from kinsight.store import MANIFEST, Changes, Store, backup, manifest, restore
from test_exchange import picture
from test_store_regroup import rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "store.db"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and its backup: three concepts, an alias, a negative, six changes to undo."""
    folder = tmp_path_factory.mktemp("kept")
    with Store.open(folder / "store.db") as store:
        for seed in range(3):
            store.remember(picture(seed), f"concept {seed}")
        store.add_negative("concept 0", picture(7))
        store.edit("concept 1", Changes(add_aliases=("Momo",), info="Likes tea."))
        store.edit("concept 1", Changes(info="Likes cake."))
        backup(store, folder / "backup.zip")
    return folder


@pytest.fixture
def archive(kept: Path, path: Path, tmp_path: Path) -> Path:
    """The backup of the store at `path`."""
    shutil.copy(kept / "store.db", path)
    return Path(shutil.copy2(kept / "backup.zip", tmp_path))


def test_a_backup_brings_everything_back(archive: Path, path: Path, tmp_path: Path) -> None:
    before = rows(path)
    other = tmp_path / "other" / "store.db"
    other.parent.mkdir()
    assert restore(other, archive).aside is None
    assert rows(other) == before
    with Store.open(other) as store:
        assert [concept.name for concept in store.concepts()] == [f"concept {n}" for n in range(3)]
        assert store.undo_last(6)[0] == 'changed the info of "concept 1"'
        assert store.concepts() == []
    assert [file.name for file in other.parent.iterdir()] == ["store.db"]


def test_a_restore_replaces_what_is_there_while_others_have_it_open(archive: Path, path: Path) -> None:
    before = rows(path)
    with Store.open(path) as store:
        store.forget("concept 0")
        store.merge("concept 1", "concept 2")
        store.remember(crop(9), "Zoe")
        generation = store.generation()
        restore(path, archive)
        assert rows(path) == before
        assert store.concept("momo").info == "Likes cake."
        assert store.generation() > generation
        assert store.check() == []
        store.undo()
        assert store.concept("momo").info == "Likes tea."
        assert store.remember(crop(10), "Tom").id > 4  # the id of Zoe is not used twice


def test_a_backup_is_a_plain_private_archive(archive: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == ["store.db", MANIFEST]
        packed.extractall(tmp_path / "out")
    with Store.open(tmp_path / "out" / "store.db") as store:
        assert len(store.concepts()) == 3
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["backup.zip", "home", "out"]


def test_a_backup_while_another_process_writes(path: Path, tmp_path: Path) -> None:
    filled(path)
    with Store.open(path, timeout=0.05) as store, held(path, "immediate"):
        backup(store, tmp_path / "backup.zip")
    restore(path, tmp_path / "backup.zip")
    with Store.open(path) as store:
        assert len(store.concepts()) == 3


def test_a_restore_while_another_process_writes_changes_nothing(archive: Path, path: Path) -> None:
    before = rows(path)
    with Store.open(path) as store:
        store.edit("Momo", Changes(info="new"))
    after = rows(path)
    with held(path, "immediate"), pytest.raises(StoreBusy):
        restore(path, archive, timeout=0.05)
    assert rows(path) == after != before
    assert not path.with_name("store.db-work").exists()


def test_no_file_is_replaced_unasked(archive: Path, path: Path, tmp_path: Path) -> None:
    with Store.open(path) as store:
        with pytest.raises(ArchiveError, match="replace it with --replace"):
            backup(store, archive)
        store.forget("concept 0")
        backup(store, archive, replace=True)
        for own in (path, Path(f"{path}-wal")):
            with pytest.raises(ArchiveError, match="is the store itself"):
                backup(store, own, replace=True)
        with pytest.raises(ArchiveError, match="cannot be written"):
            backup(store, tmp_path / "nowhere" / "backup.zip")
    restore(path, archive)
    with Store.open(path) as store:
        assert len(store.concepts()) == 2


def test_a_backup_after_forget_has_no_byte_of_the_forgotten(path: Path, tmp_path: Path) -> None:
    filled(path)
    with Store.open(path) as store:
        store.remember(crop(40), "Secretname", info="Secretinfo")
        store.add_view("Secretname", crop(41))
        store.edit("Secretname", Changes(add_aliases=("Secretalias",)))
        backup(store, tmp_path / "before.zip")
        store.forget("Secretname")
        backup(store, tmp_path / "after.zip")
    needles = [b"Secretname", b"secretname", b"Secretinfo", b"Secretalias"]
    for seed in (40, 41):
        picture, vector = crop(seed).picture_jpeg, crop(seed).vector
        needles += [picture[start : start + 16] for start in range(0, len(picture) - 16, 200)]
        needles.append(vector.tobytes()[:16])
    assert all(needle in (tmp_path / "before.zip").read_bytes() for needle in needles)
    content = (tmp_path / "after.zip").read_bytes()
    assert [needle for needle in needles if needle in content] == []


def test_forget_takes_a_half_restored_backup_away(archive: Path, path: Path) -> None:
    left = path.with_name("store.db-work")
    left.mkdir()
    (left / "store.db").write_bytes(b"concept 0")
    with Store.open(path) as store:
        store.forget("concept 0")
    assert not left.exists()
    assert b"concept 0" not in b"".join(files(path).values())


@pytest.mark.parametrize("damage", ["header", "pages", "cut", "empty"])
def test_a_damaged_store_is_moved_aside(archive: Path, path: Path, damage: str) -> None:
    before = rows(path)
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:16] = b"no database here"
    elif damage == "pages":
        content[4096:] = b"\xa5" * (len(content) - 4096)
    else:
        del content[0 if damage == "empty" else len(content) // 2 + 7 :]
    path.write_bytes(content)
    aside = restore(path, archive).aside
    assert aside == path.with_name("store.db.damaged-1")
    assert aside.read_bytes() == content
    assert rows(path) == before
    path.write_bytes(b"damaged again")
    assert restore(path, archive).aside == path.with_name("store.db.damaged-2")
    with Store.open(path) as store:
        assert store.check() == []


@pytest.mark.parametrize("room", [0, 1000])
def test_a_full_disk_harms_nothing(archive: Path, path: Path, tmp_path: Path, room: int) -> None:
    """A file may not grow beyond `room` bytes: every way out and in says so and leaves all as it was."""
    with Store.open(path) as store:
        export_folder(store, tmp_path / "folder", quiet)
        store.edit("Momo", Changes(info="since then"))
    before, names = rows(path), sorted(tmp_path.rglob("[!s]*"))
    backed_up = archive.read_bytes()

    def work() -> None:
        with Store.open(path) as store:
            incoming = [replace(one, name="new") for one in read_folder(tmp_path / "folder", quiet)[:1]]
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            with pytest.raises(ArchiveError, match="cannot be written"):
                backup(store, archive, replace=True)
            with pytest.raises(ArchiveError, match="cannot be written"):
                export_folder(store, tmp_path / "more", quiet)
            with pytest.raises((ArchiveError, StoreError)):
                restore(path, archive)
            with pytest.raises(StoreError):
                store.bring(incoming)

    assert ended(in_a_child(work)) == 0
    assert (rows(path), sorted(tmp_path.rglob("[!s]*"))) == (before, names)
    assert archive.read_bytes() == backed_up


def quiet(what: str, done: int, total: int) -> None:
    pass


def packed(
    file: Path, entries: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None
) -> None:
    """A zip archive as `backup` writes it, but for what `change` does to its entries."""
    with zipfile.ZipFile(file, "w") as target:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFREG | 0o600) << 16
            if change:
                change(entry)
            target.writestr(entry, data)


def as_link(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16


def compressed(entry: zipfile.ZipInfo) -> None:
    entry.compress_type = zipfile.ZIP_DEFLATED


def listing(entries: dict[str, bytes]) -> bytes:
    return manifest({name: sha256(data).hexdigest() for name, data in entries.items()})


Pack = Callable[[Path, bytes], None]
HOSTILE: dict[str, tuple[Pack, str]] = {
    "path": (
        lambda file, db: packed(file, {"../store.db": db, MANIFEST: listing({"../store.db": db})}),
        "it holds other things",
    ),
    "absolute": (
        lambda file, db: packed(file, {"/tmp/store.db": db, MANIFEST: listing({"/tmp/store.db": db})}),
        "it holds other things",
    ),
    "more": (
        lambda file, db: packed(file, {"store.db": db, MANIFEST: listing({"store.db": db}), "x": b"x"}),
        "it holds other things",
    ),
    "less": (lambda file, db: packed(file, {"store.db": db}), "it holds other things"),
    "link": (
        lambda file, db: packed(file, {"store.db": db, MANIFEST: listing({"store.db": db})}, as_link),
        "it holds other things",
    ),
    "bomb": (
        lambda file, db: packed(file, {"store.db": bytes(1_000_000), MANIFEST: b""}, compressed),
        "it holds other things",
    ),
    "long manifest": (
        lambda file, db: packed(file, {"store.db": db, MANIFEST: listing({"store.db": db}) * 99}),
        "is too long",
    ),
    "other hash": (
        lambda file, db: packed(file, {"store.db": db, MANIFEST: listing({"store.db": b"x"})}),
        "does not fit its hash",
    ),
    "no manifest": (lambda file, db: packed(file, {"store.db": db, MANIFEST: b"\xff"}), "is damaged"),
    "text": (lambda file, db: file.write_bytes(b"hello"), "no backup of a store"),
    "nothing": (lambda file, db: file.write_bytes(b""), "no backup of a store"),
    "folder": (lambda file, db: file.mkdir(), "there is no file"),
    "pipe": (lambda file, db: os.mkfifo(file), "there is no file"),
    "cut": (lambda file, db: file.write_bytes(file.with_name("backup.zip").read_bytes()[:-30]), "no backup"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused(archive: Path, path: Path, kind: str) -> None:
    before, names = rows(path), sorted(path.parent.iterdir())
    file = archive.with_name("hostile.zip")
    make, reason = HOSTILE[kind]
    make(file, path.read_bytes())
    with pytest.raises(ArchiveError, match=reason):
        restore(path, file)
    assert (rows(path), sorted(path.parent.iterdir())) == (before, names)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("create trigger t after delete on concept begin delete from view; end", "no store has"),
        ("create table more (x)", "no store has"),
        ("drop index view_of", "no store has"),
        ("pragma application_id = 1", "another program"),
        ("insert into _sqlite_migrations values (99, 'kinsight', 'm999_later', '')", "newer kinsight"),
        ("update view set concept_id = 99", "belongs to nobody"),
    ],
)
def test_a_strange_database_is_refused(archive: Path, path: Path, sql: str, reason: str) -> None:
    before = rows(path)
    strange = archive.with_name("strange.db")
    with zipfile.ZipFile(archive) as source:
        strange.write_bytes(source.read("store.db"))
    with sqlite3.connect(strange) as db:
        db.execute(sql)
    db.close()
    data = strange.read_bytes()
    packed(archive, {"store.db": data, MANIFEST: listing({"store.db": data})})
    with pytest.raises(ArchiveError, match=reason):
        restore(path, archive)
    assert rows(path) == before


def test_no_changed_byte_goes_unnoticed(archive: Path, path: Path) -> None:
    """Bytes all over the archive, changed: refused, or the same store comes out of it."""
    before, content = rows(path), archive.read_bytes()
    refused = 0
    for place in range(0, len(content), len(content) // 40):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        archive.write_bytes(changed)
        try:
            restore(path, archive)
        except ArchiveError:
            refused += 1
        except KinsightError as error:
            raise AssertionError(place) from error
        assert rows(path) == before
    assert refused > 30
