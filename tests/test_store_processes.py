"""Several processes at one store, and processes that die."""

import contextlib
from pathlib import Path

import pytest

import killing
from children import ended, filled, held, in_a_child
from crops import crop
from kinsight.errors import DuplicateName, StoreBusy
from kinsight.store import Changes, Store, backup, restore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_a_writer_that_waits_for_too_long_says_so(path: Path) -> None:
    filled(path)
    with Store.open(path, timeout=0.05) as store:
        with held(path, "immediate"):
            for change in (
                lambda: store.remember(crop(9), "Lala"),
                lambda: store.edit("concept 0", Changes(info="x")),
                lambda: store.forget("concept 0"),
                store.undo,
            ):
                with pytest.raises(StoreBusy, match=r"in use by another process.*try again"):
                    change()
            assert len(store.concepts()) == 3
        assert store.size()["journal"] == 3
        store.remember(crop(9), "Lala")


def test_two_processes_write_at_the_same_time(path: Path) -> None:
    def work(first: int) -> None:
        with Store.open(path) as store:
            for seed in range(first, first + 20):
                store.remember(crop(seed), f"concept {seed}")

    children = [in_a_child(lambda first=first: work(first)) for first in (0, 100)]
    assert [ended(child) for child in children] == [0, 0]
    with Store.open(path) as store:
        names = {concept.name for concept in store.concepts()}
        assert names == {f"concept {seed}" for first in (0, 100) for seed in range(first, first + 20)}
        assert store.generation() == 40
        assert [len(concept.views) for concept in store.concepts()] == [1] * 40


def test_two_processes_make_the_store_at_the_same_time(tmp_path: Path) -> None:
    def work(path: Path, seed: int) -> None:
        with Store.open(path) as store:
            store.remember(crop(seed), f"concept {seed}")

    for round_ in range(5):
        path = tmp_path / f"{round_}.db"
        children = [in_a_child(lambda path=path, seed=seed: work(path, seed)) for seed in range(3)]
        assert [ended(child) for child in children] == [0, 0, 0]
        with Store.open(path) as store:
            assert len(store.concepts()) == 3


def test_a_name_goes_to_one_of_two_processes(path: Path) -> None:
    def work() -> None:
        with Store.open(path) as store, contextlib.suppress(DuplicateName):
            for seed in range(10):
                store.remember(crop(seed), f"concept {seed}")

    children = [in_a_child(work) for _ in range(2)]
    assert [ended(child) for child in children] == [0, 0]
    with Store.open(path) as store:
        assert len(store.concepts()) <= 10
        assert store.check() == []


@pytest.mark.stress
def test_writers_readers_and_a_backup_side_by_side(path: Path, tmp_path: Path) -> None:
    """As a server and a command line do: every reader sees whole changes, in their order."""
    filled(path, 1)

    def write(first: int) -> None:
        with Store.open(path) as store:
            for number in range(first, first + 12):
                store.remember(crop(number), f"concept {number}", info="new")
                store.edit(f"concept {number}", Changes(info=f"info {number}", category=f"kind {number}"))
                if number % 4 == 3:
                    store.merge(f"concept {number}", f"concept {number - 1}")

    def read() -> None:
        seen, generation = 0, 0
        with Store.open(path) as store:
            while generation < 80:
                with store.unchanged():
                    known, generation = store.concepts(), store.generation()
                    vectors, size = store.vectors("e"), store.size()
                assert len(vectors.view_ids) == sum(len(one.views) for one in known) == size["view"] >= seen
                for one in known[1:]:
                    number = one.name.removeprefix("concept ")
                    assert (one.info, one.category) in (("new", ""), (one.info, f"kind {number}"))
                    assert one.info == "new" or f"info {number}" in one.info
                seen = size["view"]

    def save() -> None:
        for number in range(5):
            with Store.open(path) as store:
                backup(store, tmp_path / f"{number}.zip")
            restore(tmp_path / f"{number}" / "store.db", tmp_path / f"{number}.zip")

    for number in range(5):
        (tmp_path / f"{number}").mkdir()
    works = [lambda: write(100), lambda: write(200), lambda: write(300), read, read, save]
    assert [ended(child) for child in [in_a_child(work) for work in works]] == [0] * len(works)
    for name in ("", "0", "4"):
        with Store.open(tmp_path / name / "store.db") as store:
            assert store.check() == []
    with Store.open(path) as store:
        assert store.size()["view"] == 37 and store.size()["concept"] == 28
        assert len(store.undo_last(20)) == 20


def test_the_rows_of_a_backup_come_in_under_a_reader(path: Path, tmp_path: Path) -> None:
    filled(path, 5)
    with Store.open(path) as store:
        backup(store, tmp_path / "backup.zip")
        generation = store.generation()
        store.forget("concept 4")

        def work() -> None:
            restore(path, tmp_path / "backup.zip")

        with store.unchanged():
            before = store.concepts()
            assert ended(in_a_child(work)) == 0
            assert store.concepts() == before
        assert len(store.concepts()) == 5 and store.generation() > generation
        store.remember(crop(9), "after")


@pytest.mark.stress
def test_killed_at_any_moment_all_or_nothing(tmp_path: Path) -> None:
    with killing.keys_at_once():
        counts = killing.run(tmp_path, rounds=6, seed=3)
    assert counts["remember"] > 5
    assert counts["killed"] > 0
