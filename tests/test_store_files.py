"""The store's file: private, whole on a full disk, refused where it is not a store."""

import contextlib
import os
import resource
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from children import ended, files, filled, in_a_child
from crops import crop
from kinsight.errors import ConceptError, StoreError
from kinsight.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_only_the_owner_may_read_it(path: Path) -> None:
    old = os.umask(0o022)
    try:
        with Store.open(path) as store:
            store.remember(crop(1), "Lala")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
        path.chmod(0o644)
        Store.open(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_a_full_disk_loses_nothing(path: Path) -> None:
    filled(path)
    with Store.open(path) as store:
        before = store.concepts()
        pages = store._db.execute("pragma page_count").fetchone()[0]
        store._db.execute(f"pragma max_page_count = {pages}").fetchall()
        with pytest.raises(StoreError, match=r"no space left on its disk.*free some space"):
            for seed in range(10, 50):
                store.remember(crop(seed), f"concept {seed}")
        assert store.concepts()[:3] == before
        assert store.check() == []


def test_a_file_that_may_not_grow_loses_nothing(path: Path) -> None:
    filled(path)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 6000,) * 2)
        with Store.open(path) as store:
            with pytest.raises(StoreError, match="check the disk"):
                for seed in range(10, 50):
                    store.remember(crop(seed), f"concept {seed}")
            assert len(store.concepts()) >= 3

    assert ended(in_a_child(work)) == 0
    with Store.open(path) as store:
        assert [concept.name for concept in store.concepts()][:3] == [f"concept {i}" for i in range(3)]
        assert store.check() == []


@contextlib.contextmanager
def readable_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def without_rights(work: Callable[[], None]) -> int:
    """Exit code of a child that is not root."""

    def dropped() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        work()

    return ended(in_a_child(dropped))


def test_a_folder_that_may_not_be_written() -> None:
    with readable_folder() as folder:
        folder.chmod(0o555)

        def work() -> None:
            with pytest.raises(StoreError, match=r"Permission denied.*KINSIGHT_HOME"):
                Store.open(folder / "store.db")

        assert without_rights(work) == 0
        assert list(folder.iterdir()) == []


def test_a_file_that_may_not_be_written() -> None:
    with readable_folder() as folder:
        path = folder / "store.db"
        filled(path)
        path.chmod(0o444)
        folder.chmod(0o555)
        content = path.read_bytes()

        def work() -> None:
            with (
                pytest.raises(StoreError, match=r"(may not be written|cannot be opened).*writable"),
                Store.open(path) as store,
            ):
                store.remember(crop(9), "Lala")

        assert without_rights(work) == 0
        assert path.read_bytes() == content


def test_a_folder_that_is_not_there(path: Path) -> None:
    with pytest.raises(StoreError, match=r"No such file"):
        Store.open(path.parent / "nowhere" / "store.db")
    with pytest.raises(StoreError, match=r"Is a directory"):
        Store.open(path.parent)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "three bytes": lambda content: content[:3],
    "half a header": lambda content: content[:50],
    "cut at a page": lambda content: content[: len(content) // 2 // 4096 * 4096],
    "cut in the last page": lambda content: content[:-100],
    "garbage": lambda content: bytes(reversed(content)),
    "text": lambda content: b"Lala is my dog.\n" * 600,
    "garbage in the header": lambda content: b"\xff" * 24 + content[24:],
    "garbage after the magic": lambda content: content[:16] + b"\xff" * 84 + content[100:],
    "zeros": lambda content: bytes(len(content)),
    "first page lost": lambda content: content[:100] + bytes(3996) + content[4096:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_and_stays_as_it_is(path: Path, damage: Callable[[bytes], bytes]) -> None:
    filled(path)
    path.write_bytes(damage(path.read_bytes()))
    before = files(path)
    with pytest.raises(StoreError) as caught:
        Store.open(path)
    assert str(path) in caught.value.problem
    assert "backup" in caught.value.mend
    assert files(path) == before


@pytest.mark.parametrize(
    "damage",
    [
        "update view set photo_sha256 = cast(x'ff' as text)",
        "update concept set fingerprint = '{'",
        "update vector set dim = 1, vector = x'00000000' where id = 2",
        "delete from meta",
        "drop table alias",
    ],
)
def test_damaged_rows_are_an_error_in_our_words(path: Path, damage: str) -> None:
    filled(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(damage)
    other.close()
    with pytest.raises(StoreError, match=r"store\.db is damaged"), Store.open(path) as store:
        store.concepts()
        store.vectors("e")


def test_an_emptied_file_keeps_the_log_beside_it(path: Path) -> None:
    with Store.open(path) as store:
        store.remember(crop(1), "Lala")
        log = path.with_name("store.db-wal")
        copy = path.parent / "copy"
        copy.mkdir()
        shutil.copy(log, copy / "store.db-wal")
    (copy / "store.db").touch()
    with pytest.raises(StoreError, match="is empty"):
        Store.open(copy / "store.db")
    assert (copy / "store.db-wal").stat().st_size > 0


@cache
def content_of_a_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        filled(Path(folder) / "store.db", 2)
        return (Path(folder) / "store.db").read_bytes()


@settings(max_examples=25, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1, max_size=200))
def test_flipped_bytes_are_an_error_or_no_harm_but_never_a_crash(place: float, noise: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        content = bytearray(content_of_a_store())
        start = int(place * len(content))
        content[start : start + len(noise)] = noise[: len(content) - start]
        path.write_bytes(content)
        with contextlib.suppress(StoreError, ConceptError), Store.open(path) as store:
            store.check()
            store.concepts()
            store.vectors("e")
            store.remember(crop(9), "Lala")


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.executescript("create table bookmarks (url text); insert into bookmarks values ('x');")
    other.close()
    before = files(path)
    with pytest.raises(StoreError, match="another program"):
        Store.open(path)
    assert files(path) == before


def test_a_store_of_a_newer_version_is_left_alone(path: Path) -> None:
    filled(path)
    newer = sqlite3.connect(path)
    newer.execute("insert into _sqlite_migrations (migration_set, name) values ('kinsight', 'm999_later')")
    newer.commit()
    newer.close()
    before = files(path)
    with pytest.raises(StoreError, match=r"newer kinsight.*update kinsight"):
        Store.open(path)
    assert files(path) == before


def test_what_a_killed_process_left_of_making_a_store_goes(path: Path) -> None:
    filled(path)
    old, new = path.with_name("store.dbabc.new"), path.with_name("store.dbxyz.new-wal")
    for file in (old, new):
        file.write_bytes(b"half a store")
    os.utime(old, (1, 1))
    Store.open(path).close()
    assert not old.exists() and new.exists()


def test_nothing_is_left_of_making_a_store(path: Path) -> None:
    Store.open(path).close()
    assert list(files(path)) == ["store.db"]


def test_a_closed_store_says_so_in_our_words(path: Path) -> None:
    store = Store.open(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match=r"store\.db"):
        store.concepts()
