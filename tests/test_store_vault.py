"""The vault: nothing plain on the disk, only the right key opens it, nothing is lost at any moment."""

from __future__ import annotations

import os
import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from children import ended, files, filled, in_a_child
from crops import crop
from kinsight.errors import (
    ArchiveError,
    KinsightError,
    MissingPackage,
    StoreBusy,
    StoreDamaged,
    StoreError,
    VaultError,
)
from kinsight.store import (
    KEY_FILE,
    Changes,
    Key,
    Keys,
    Store,
    backup,
    is_encrypted,
    keys,
    make_key_file,
    pages,
    restore,
    rewrite,
    vault,
)

pytest.importorskip("sqlcipher3")
REAL_COST = dict(keys.COST)
ONE, OTHER = Key(b"one"), Key(b"other")


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys at once: what they cost is in the format, not in what is tested here."""
    monkeypatch.setattr(keys, "COST", {"n": 2, "r": 8, "p": 1})
    monkeypatch.delenv(KEY_FILE, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "store.db"


def one(path: Path) -> Key:
    return ONE


def other(path: Path) -> Key:
    return OTHER


def content(path: Path, key: keys.KeySource | None = None) -> object:
    """All that is in the store, ids included, and what its file says of itself."""
    with Store.open(path, key=key) as store:
        assert store.check() == []
        concepts = store.concepts()
        pictures = [store.view_picture(view.id) for concept in concepts for view in concept.views]
        vectors = store.vectors("e")
        ids = store._db.execute("select * from sqlite_sequence order by name").fetchall()
        return concepts, pictures, vectors.views.tobytes(), store.history(), ids, store.generation()


def live(path: Path, key: keys.KeySource | None = None) -> list[bytes]:
    """Fill a store; what must not be seen in its files when it is encrypted."""
    with Store.open(path, key=key) as store:
        store.remember(crop(1), "Zölestine", "dog", "her secret info")
        store.add_view("Zölestine", crop(2))
        store.edit("Zölestine", Changes(info="another secret"))
        store.remember(crop(3), "Gone")
        store.undo()
    needles = ["Zölestine".encode(), b"secret", b"concept", b"autoincrement", b"SQLite format", b"remembered"]
    for seed in (1, 2):
        needles += [crop(seed).picture_jpeg[100:116], crop(seed).vector.tobytes()[:16]]
    return needles


def seen(path: Path, needles: list[bytes]) -> list[bytes]:
    on_disk = b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())
    return [needle for needle in needles if needle in on_disk]


def test_nothing_plain_is_on_the_disk_and_nothing_is_lost(path: Path) -> None:
    needles = live(path)
    assert seen(path, needles) == needles
    before = content(path)
    rewrite(path, None, ONE)
    assert is_encrypted(path) and seen(path, needles) == []
    with Store.open(path, key=one) as store:
        assert store.encrypted and "secret" not in repr(store.cipher)
        assert [file.name for file in sorted(path.parent.iterdir())] == [
            "store.db",
            "store.db-shm",
            "store.db-wal",
        ]
        store.edit("Zölestine", Changes(info="a secret once more"))
        assert seen(path, needles) == []
        store.undo()
    first = path.read_bytes()
    rewrite(path, one, OTHER)
    assert is_encrypted(path) and seen(path, needles) == [] and path.read_bytes()[8:] != first[8:]
    with pytest.raises(VaultError):
        Store.open(path, key=one)
    rewrite(path, other, None)
    assert not is_encrypted(path)
    after = content(path)
    assert after[:4] == before[:4] and after[4] >= before[4]
    assert list(files(path)) == ["store.db"] and path.stat().st_mode & 0o777 == 0o600


def test_a_wrong_key_is_told_and_harms_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(path)
    rewrite(path, None, ONE)
    kept, before = content(path, one), files(path)
    with pytest.raises(VaultError, match=r"the key does not fit the store .*try again"):
        Store.open(path, key=other)
    with pytest.raises(VaultError, match=rf"is encrypted and no key was given.*{KEY_FILE}"):
        Store.open(path)
    for wrong in (None, other):
        with pytest.raises(VaultError):
            rewrite(path, wrong, None)
    assert files(path) == before
    make_key_file(tmp_path / "key")
    monkeypatch.setenv(KEY_FILE, str(tmp_path / "key"))
    with pytest.raises(VaultError, match="does not fit"):
        Store.open(path)
    (tmp_path / "key").write_text("one\n")
    assert content(path) == kept


def test_a_wrong_key_beside_a_log_harms_nothing(path: Path) -> None:
    """As a killed process leaves it: the last changes are in the log only."""
    live(path)
    rewrite(path, None, ONE)

    def work() -> None:
        Store.open(path, key=one).remember(crop(9), "in the log")
        os.kill(os.getpid(), 9)

    assert ended(in_a_child(work)) == -9
    assert path.with_name("store.db-wal").stat().st_size > 0
    with pytest.raises(VaultError):
        Store.open(path, key=other)
    with Store.open(path, key=one) as store:
        assert store.concept("in the log") and store.check() == []


def test_keys(tmp_path: Path) -> None:
    salt = keys.new_salt()
    assert keys.salt_of(salt + b"rest") == salt and keys.salt_of(b"SQLite format 3\0") is None
    assert keys.new_salt() != salt and len(salt) == 16
    made = Key.of_passphrase("e\u0301 \u72d7")
    assert made.cipher(salt) == Key.of_passphrase("\u00e9 \u72d7").cipher(salt) != ONE.cipher(salt)
    file = tmp_path / "key"
    file.write_text("\u00e9 \u72d7\r\n")
    assert Key.of_file(file).cipher(salt) == made.cipher(salt)
    file.write_bytes(b"\xff\xfe")
    assert Key.of_file(file).cipher(salt) == Key(b"\xff\xfe").cipher(salt)
    assert "one" not in repr(ONE) and "one" not in str(vars(ONE).keys())
    for bad, words in ((b"", "is empty"), (b"\n", "is empty"), (b"x" * 5000, "more than 4096 bytes")):
        file.write_bytes(bad)
        with pytest.raises(VaultError, match=words):
            Key.of_file(file)
    with pytest.raises(VaultError, match="cannot be read"):
        Key.of_file(tmp_path / "nowhere")
    with pytest.raises(VaultError, match="cannot be made"):
        make_key_file(file)
    make_key_file(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / "new").read_text().strip()) == 64


def test_the_key_of_a_store_stays_the_same_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what scrypt really costs; another number here, and nobody can open their store any more."""
    monkeypatch.setattr(keys, "COST", REAL_COST)
    made = "251cc601e3ec21430a38bdebfe55bc88d53a6f824ab55dd6a3d91f31a31213de"
    assert (
        Key.of_passphrase("correct horse").cipher(b"kinsvlt1saltsalt")
        == f"x'{made}{b'kinsvlt1saltsalt'.hex()}'"
    )


def test_without_sqlcipher(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live(path)
    rewrite(path, None, ONE)
    before = files(path)
    for name in ("sqlcipher3", "sqlcipher3.dbapi2"):
        monkeypatch.setitem(sys.modules, name, None)
    for work in (lambda: Store.open(path, key=one), lambda: rewrite(path, one, None)):
        with pytest.raises(MissingPackage, match=r'run pip install "kinsight\[vault\]"'):
            work()
    assert files(path) == before


def test_not_beside_anybody_else(path: Path) -> None:
    live(path)
    with Store.open(path) as store:
        with pytest.raises(StoreBusy, match="this process has the store"):
            rewrite(path, None, ONE, timeout=0)
        store.edit("Zölestine", Changes(info="went on"))
        heard, told = os.pipe()

        def work() -> None:
            with pytest.raises(StoreBusy, match=r"another process has the store .* open: close every other"):
                rewrite(path, None, ONE, timeout=0.05)
            os.write(told, b"x")

        child = in_a_child(work)
        assert ended(child) == 0 and os.read(heard, 1) == b"x"
        assert store.concept("Zölestine").info == "went on"
    assert not is_encrypted(path) and list(files(path)) == ["store.db"]
    rewrite(path, None, ONE)


def test_another_store_of_the_same_process_keeps_its_locks(path: Path) -> None:
    """POSIX: closing a file gives up all locks that the process has on it."""
    filled(path)
    with Store.open(path):
        Store.open(path).close()
        is_encrypted(path)

        def work() -> None:
            db = sqlite3.connect(path, timeout=0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                db.execute("pragma journal_mode = delete").fetchall()

        assert ended(in_a_child(work)) == 0


def test_who_waits_finds_the_new_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live(path)
    heard, told = os.pipe()

    def slowly(folder: Path) -> None:
        os.write(told, b"x")
        time.sleep(0.3)

    def work() -> None:
        monkeypatch.setattr(vault, "settle", slowly)
        rewrite(path, None, ONE)

    os.link(path, path.parent / "the old one")  # whoever opened it before it lost its name
    child = in_a_child(work)
    os.read(heard, 1)
    with Store.open(path, key=one) as store:
        assert store.encrypted and store.concept("Zölestine")
    assert ended(child) == 0
    old = path.parent / "the old one"
    assert set(old.read_bytes()) == {0}
    with pytest.raises(StoreDamaged):
        Store.open(old)


STEPS = ("_copy", "_compare", "settle", "overwrite")


WAYS: dict[str, tuple[keys.KeySource | None, Key | None]] = {
    "on": (None, ONE),
    "rekey": (one, OTHER),
    "off": (one, None),
}
MOMENTS = [(way, step, after) for way in WAYS for step in STEPS for after in (False, True)]
QUICK = [("on", step, False) for step in STEPS]


@pytest.mark.parametrize(
    "way,step,after",
    [pytest.param(*moment, marks=[] if moment in QUICK else [pytest.mark.stress]) for moment in MOMENTS],
)
def test_killed_at_any_step(
    path: Path, monkeypatch: pytest.MonkeyPatch, way: str, step: str, after: bool
) -> None:
    needles = live(path)
    key, new = WAYS[way]
    if key:
        rewrite(path, None, ONE)
    before = content(path, key)

    def work() -> None:
        true: Callable[..., None] = getattr(vault, step)

        def deadly(*given: object) -> None:
            if after:
                true(*given)
            os.kill(os.getpid(), 9)

        monkeypatch.setattr(vault, step, deadly)
        rewrite(path, key, new)

    assert ended(in_a_child(work)) == -9
    swapped = step in ("settle", "overwrite")
    key_now = (lambda _: new) if swapped and new else None if swapped else key
    assert content(path, key_now) == before
    assert list(files(path)) == ["store.db"]
    assert bool(seen(path, needles)) != is_encrypted(path)


def test_a_disk_too_full_for_a_second_file(path: Path) -> None:
    live(path)
    before = content(path)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000,) * 2)
        with pytest.raises(StoreError, match=r"check the disk|free some space"):
            rewrite(path, None, ONE)

    assert ended(in_a_child(work)) == 0
    assert not is_encrypted(path) and content(path) == before and list(files(path)) == ["store.db"]


def test_a_copy_that_differs_is_not_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live(path)
    before = content(path)
    true = vault._copy

    def spoilt(db: vault.Database, fresh: Path, cipher: str) -> None:
        true(db, fresh, cipher)
        with vault.database(fresh, 0, cipher, sqlcipher=True) as copied:
            copied.execute("update concept set info = 'spoilt'")
            copied.commit()

    monkeypatch.setattr(vault, "_copy", spoilt)
    with pytest.raises(StoreError, match=r"is not as it should be.*nothing was changed"):
        rewrite(path, None, ONE)
    assert content(path) == before


@pytest.fixture
def archives(tmp_path: Path, path: Path) -> Iterator[dict[str, Path]]:
    """Backups of one store, in plain and under both keys, beside an empty place."""
    live(path)
    made = {}
    for name, key, new in (("plain", None, ONE), ("one", one, OTHER), ("other", other, None)):
        made[name] = tmp_path / f"{name}.zip"
        with Store.open(path, key=key) as store:
            backup(store, made[name])
        rewrite(path, key, new)
    path.unlink()
    yield made


def test_a_backup_is_encrypted_as_its_store_is(archives: dict[str, Path], path: Path) -> None:
    needles = live(path)
    for name, file in archives.items():
        readable = [needle for needle in needles if needle in file.read_bytes()]
        assert bool(readable) == (name == "plain")


def test_restore_with_and_without_keys(archives: dict[str, Path], path: Path) -> None:
    restore(path, archives["one"], keys=Keys(backup=one))  # there is no store: it becomes as the backup is
    assert is_encrypted(path)
    kept = content(path, one)
    with pytest.raises(VaultError, match=r"the key does not fit .*other\.zip"):
        restore(path, archives["other"], keys=Keys(one, one))
    with pytest.raises(VaultError, match="no key was given"):
        restore(path, archives["other"], keys=Keys(one))
    assert content(path, one) == kept
    for name, archive in archives.items():
        restore(path, archive, keys=Keys(one, other if name == "other" else one))
        assert is_encrypted(path) and content(path, one)[0] == kept[0]
        assert list(files(path)) == ["store.db"]
    rewrite(path, one, None)
    with pytest.raises(ArchiveError, match=r"is encrypted and the store is not.*vault on"):
        restore(path, archives["one"], keys=Keys(backup=one))
    assert not is_encrypted(path)
    path.write_bytes(b"no store")
    assert restore(path, archives["one"], keys=Keys(backup=one)).aside == path.with_name("store.db.damaged-1")
    assert content(path, one)[0] == kept[0]


def test_forget_in_the_vault(path: Path, tmp_path: Path) -> None:
    rewrite(path, None, ONE)
    needles = live(path, one)
    with Store.open(path, key=one) as store:
        store.remember(crop(7), "Bobo")
        store.forget("Zölestine")
        backup(store, tmp_path / "backup.zip")
    rewrite(path, one, None)
    secrets = [
        needle
        for needle in needles
        if needle not in (b"concept", b"autoincrement", b"SQLite format", b"remembered")
    ]
    assert seen(path, secrets) == [] and seen(path, needles)
    path.unlink()
    restore(path, tmp_path / "backup.zip", keys=Keys(backup=one))
    rewrite(path, one, None)
    assert seen(path, secrets) == []


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_found(path: Path, place: float) -> None:
    live(path)
    rewrite(path, None, ONE)
    damaged = bytearray(path.read_bytes())
    damaged[int(place * len(damaged))] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreError), Store.open(path, key=one) as store:
        assert store.check() != []
        store.concepts()
        store.vectors("e")
        raise StoreDamaged("check found it", "no mend")


DAMAGE = {"mark": (0, 8), "salt": (8, 16), "salt and more": (0, 200), "first page": (100, 140)}


@pytest.mark.parametrize("where", DAMAGE)
@pytest.mark.parametrize("name", ["one", "plain"])
def test_a_damaged_beginning(archives: dict[str, Path], path: Path, where: str, name: str) -> None:
    """An encrypted backup takes the place of the store with the right key; a plain one never does."""
    restore(path, archives["one"], keys=Keys(backup=one))
    kept = content(path, one)
    whole, (start, end) = path.read_bytes(), DAMAGE[where]
    damaged = whole[:start] + bytes(byte ^ 255 for byte in whole[start:end]) + whole[end:]
    path.write_bytes(damaged)
    with pytest.raises(StoreError) as told:
        Store.open(path, key=one)
    assert isinstance(told.value, StoreDamaged) == (where != "salt")
    assert ("store restore" in str(told.value)) == (where != "salt")
    if name == "one":
        aside = restore(path, archives["one"], keys=Keys(one, one)).aside
        assert aside and aside.read_bytes() == damaged
        assert is_encrypted(path) and content(path, one)[0] == kept[0]
        return
    with pytest.raises(KinsightError, match=r"move .* away, restore again"):
        restore(path, archives["plain"], keys=Keys(one))
    assert path.read_bytes() == damaged and list(files(path)) == ["store.db"]


def test_a_wrong_key_moves_no_store_aside(archives: dict[str, Path], path: Path) -> None:
    restore(path, archives["one"], keys=Keys(backup=one))
    before = path.read_bytes()
    for name, key in (("one", one), ("other", other), ("plain", None)):
        for wrong in (other, None):
            with pytest.raises(VaultError, match="where no key opens it any more, move"):
                restore(path, archives[name], keys=Keys(wrong, key))
    assert path.read_bytes() == before and list(files(path)) == ["store.db"]


def test_a_plain_store_is_not_taken_for_an_encrypted_one(path: Path) -> None:
    live(path)
    with Store.open(path) as store:
        for seed in range(100, 160):
            store.remember(crop(seed), f"concept {seed}")
    for damage in (b"", bytes(200)):
        path.write_bytes(damage + path.read_bytes()[len(damage) :])
        assert not pages.was_encrypted(path)
    path.write_bytes(b"short")
    assert not pages.was_encrypted(path)
