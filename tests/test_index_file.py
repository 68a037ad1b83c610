"""The index file: made where it pays, trusted only where nothing happened to it."""

from pathlib import Path

import pytest

from crops import crop
from damage import EMBEDDER, KINDS, make, place, same, survived
from kinsight.memory import read_memory
from kinsight.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "made"
    make(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_seen_and_mended(kind: str, made: Path, tmp_path: Path) -> None:
    assert survived(kind, made, tmp_path / "home") == []


def test_the_file_is_read_where_it_is_whole(made: Path, tmp_path: Path) -> None:
    with place(made, tmp_path / "home") as there:
        seal = there.store.index_seal(EMBEDDER)
        assert seal
        entries = there.file.read(seal, there.store.generation())
        assert entries is not None
        before = there.path.stat()
        found = read_memory(there.store, EMBEDDER, there.file.folder, file_from=1)
        truth = read_memory(there.store, EMBEDDER, None)
        assert found and truth and found[0] == truth[0] and same(found[1], truth[1])
        assert there.path.stat() == before  # not written again
        assert there.path.stat().st_mode & 0o777 == 0o600


def test_few_views_need_no_file_and_leave_none(made: Path, tmp_path: Path) -> None:
    with place(made, tmp_path / "home") as there:
        there.store.remember(crop(77, EMBEDDER, 4), "another")
        assert read_memory(there.store, EMBEDDER, there.file.folder)
        assert not list(there.file.folder.iterdir())


def test_embedders_do_not_share_a_file(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        store.remember(crop(1, "one", 4), "Lala")
        store.remember(crop(2, "../two", 6), "Tom")
        for embedder in ("one", "../two", "one", "../two"):
            found = read_memory(store, embedder, tmp_path, file_from=1)
            assert found and found[1].views.dim == {"one": 4, "../two": 6}[embedder]
    assert len(list(tmp_path.glob("*.index"))) == 2
