"""The album's shelf of the store: photos whole or not at all, hidden regions, naming, forgetting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlite_utils import Database

from children import files
from kinsight.errors import DuplicateName, StoreError, UnknownConcept
from kinsight.store import Changes, FileStamp, Naming, Seer, Store, parts_above
from kinsight.store.schema import APPLICATION_ID, MIGRATIONS
from photos import DIM, SEER, new_photo, unit, view_in


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


def test_what_is_put_comes_back(store: Store) -> None:
    store.album.put(SEER, [new_photo(1, of=(7, 8)), new_photo(2), new_photo(3, of=(7,))])
    first, second, third = store.album.photos()
    assert (first.path, first.sha256, first.width, first.height) == ("/photos/1.jpg", f"{1:064x}", 640, 480)
    assert (first.things, second.things, third.things) == (2, 0, 1)
    assert (first.name, first.stamp) == ("1.jpg", FileStamp("/photos/1.jpg", 99, 1))
    shots = store.album.shots("e")
    assert shots.photos == (first, second, third)
    assert [list(shots.rows(row)) for row in range(3)] == [[0, 1], [], [2]]
    assert shots.photo_of().tolist() == [0, 0, 2]
    np.testing.assert_array_equal(shots.vectors, [unit(7), unit(8), unit(7)])
    np.testing.assert_array_equal(shots.whole, [unit(10_001), unit(10_002), unit(10_003)])
    assert shots.regions.box(1) == (10, 5, 19, 50)
    assert shots.hidden.tolist() == [False] * 3
    assert store.album.thumbnail(third.id) == new_photo(3).thumbnail_jpeg
    assert store.album.shots("another").photos == ()


def test_photos_are_put_all_or_none(store: Store) -> None:
    store.album.put(SEER, [new_photo(1, of=(7,))])
    before = store.album.generation()
    with pytest.raises(StoreError, match="gives 4 numbers, but 8 are stored under that id"):
        store.album.put(SEER, [new_photo(2), new_photo(3, dim=4)])
    assert [photo.name for photo in store.album.photos()] == ["1.jpg"]
    assert store.album.generation() == before
    with pytest.raises(StoreError, match="gives 8 numbers, but 4 are stored"):
        store.album.put(Seer("f", 0.9), [new_photo(4, dim=4), new_photo(5)])


def test_a_photo_that_is_seen_anew_keeps_its_place(store: Store) -> None:
    store.album.put(SEER, [new_photo(1, of=(7, 8)), new_photo(2)])
    first = store.album.photos()[0]
    store.album.put(Seer("f", 0.8), [new_photo(1, "/elsewhere/1.jpg", of=(9,))])
    again = store.album.photos()[0]
    assert (again.id, again.added) == (first.id, first.added)
    assert (again.path, again.things, again.embedder_id) == ("/elsewhere/1.jpg", 1, "f")
    assert [len(store.album.shots(name).photos) for name in ("e", "f")] == [1, 1]


def test_faces_go_with_the_look_that_saw_them(store: Store) -> None:
    """One who sees no faces looks anew and finds other regions, to which the old faces do not belong."""
    faces = np.stack([unit(7), np.zeros(DIM, np.float32), unit(8)])
    store.album.put(replace(SEER, faces=Seer("f", 0.5)), [replace(new_photo(1, of=(1, 2)), faces=faces)])
    assert store.album.photos()[0].recogniser_id == "f"
    assert np.array_equal(store.album.shots("e", "f").faces[0], faces)
    store.album.put(SEER, [new_photo(1, of=(1, 2, 3))])
    assert store.album.photos()[0].recogniser_id == ""
    assert store.album.shots("e", "f").faces == {}


def test_a_file_with_another_content_takes_the_place_of_the_old_photo(store: Store) -> None:
    store.album.put(SEER, [new_photo(1, "/a.jpg"), new_photo(2, "/b.jpg")])
    store.album.put(SEER, [new_photo(3, "/a.jpg")])
    assert [(p.path, p.sha256[-1]) for p in store.album.photos()] == [("/b.jpg", "2"), ("/a.jpg", "3")]
    (b, _) = store.album.photos()
    store.album.move([(b.id, FileStamp("/a.jpg", 5, 6))])
    assert [photo.stamp for photo in store.album.photos()] == [FileStamp("/a.jpg", 5, 6)]


def test_what_is_removed_is_gone(store: Store) -> None:
    store.album.put(SEER, [new_photo(1, of=(7, 8)), new_photo(2, of=(7,))])
    first = store.album.photos()[0]
    assert store.album.remove([first.id, 999]) == 1
    shots = store.album.shots("e")
    assert ([photo.name for photo in shots.photos], len(shots.vectors)) == (["2.jpg"], 1)
    with pytest.raises(StoreError, match="no photo 1 in the album"):
        store.album.thumbnail(first.id)
    assert store.check() == []


def test_hiding_can_be_undone_and_outlives_a_new_look(store: Store) -> None:
    store.album.put(SEER, [new_photo(1, of=(7, 8))])
    store.album.hide([(f"{1:064x}", (0, 5, 9, 50))], "hid a thing")
    assert store.album.shots("e").hidden.tolist() == [True, False]
    before = store.album.generation()
    store.album.put(SEER, [new_photo(1, of=(7, 8))])
    assert store.album.shots("e").hidden.tolist() == [True, False]
    assert store.undo() == "hid a thing"
    assert store.album.shots("e").hidden.tolist() == [False, False]
    assert store.album.generation() > before


def test_hiding_is_undone_after_the_photo_was_removed(store: Store) -> None:
    store.album.put(SEER, [new_photo(1, of=(7,))])
    store.album.hide([(f"{1:064x}", (0, 5, 9, 50))], "hid a thing")
    store.album.remove([1])
    assert store.undo() == "hid a thing"
    store.album.put(SEER, [new_photo(1, of=(7,))])
    assert store.album.shots("e").hidden.tolist() == [False]


def test_naming_is_one_change(store: Store) -> None:
    views, negatives = tuple(view_in(seed, seed) for seed in (1, 2, 3)), (view_in(4, 4),)
    momo = store.album.name(Naming("Momo", views, negatives, "cat", "The neighbours' cat."))
    assert (momo.category, momo.info, len(momo.views), len(momo.negatives)) == (
        *("cat", "The neighbours' cat."),
        *(3, 1),
    )
    with pytest.raises(DuplicateName):
        store.album.name(Naming("momo", views))
    store.edit("Momo", Changes(add_aliases=("Mo",)))
    assert len(store.album.name(Naming("mo", (view_in(5, 5),), known=True)).views) == 4
    with pytest.raises(UnknownConcept):
        store.album.name(Naming("Nobody", views, known=True))
    assert [entry.verb for entry in store.history()] == ["name", "edit", "name"]
    for _ in range(3):
        store.undo()
    assert store.concepts() == []
    assert store.size()["vector"] == 0


def test_forget_takes_what_shows_or_names_it_out_of_the_album(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    photos = [
        new_photo(1, of=(50,)),  # taught from
        new_photo(2, of=(51, 60)),  # a region is alike
        new_photo(3, "/photos/Zölestine/3.jpg"),
        new_photo(4, "/photos/zölestine_4.jpg"),
        new_photo(5, "/photos/zölestines.jpg", of=(60, 61)),  # another name
        new_photo(6, of=(62,)),
    ]
    with Store.open(path) as store:
        store.album.put(SEER, photos)
        store.album.name(Naming("Zölestine", (view_in(51, 1),)))
        store.album.hide([(photos[1].sha256, (0, 5, 9, 50))], "hid a thing")
        kept = [photos[4].thumbnail_jpeg, photos[4].vectors.tobytes()[:32]]
        gone = [photo.thumbnail_jpeg[:64] for photo in photos[:4]]
        gone += [
            vector.tobytes() for photo in photos[:4] for vector in photo.vectors if (vector != unit(60)).any()
        ]
        gone += [text.encode() for text in ("Zölestine", "zölestine_4", photos[1].sha256)]
        assert all(needle in found(path) for needle in gone)
        assert store.forget("zölestine").photos == 4
        assert [photo.sha256[-1] for photo in store.album.photos()] == ["5", "6"]
        content = found(path)
        assert [needle for needle in gone if needle in content] == []
        assert all(needle in content for needle in kept)
        assert store.check() == []


def found(path: Path) -> bytes:
    return b"".join(files(path).values())


def test_forget_knows_it_by_its_former_names(store: Store) -> None:
    store.album.put(SEER, [new_photo(1, "/photos/Mimi.jpg"), new_photo(2)])
    store.remember(view_in(50, 9), "Mimi")
    store.edit("Mimi", Changes(name="Momo"))
    assert store.forget("Momo").photos == 1


@pytest.mark.parametrize(
    "path,above,leaves",
    [
        ("/home/tom/Pictures/1.jpg", 3, False),
        ("/home/tom/Pictures/1.jpg", None, False),
        ("/home/tom/Pictures/2024/Tom/sea/1.jpg", 3, True),
        ("/home/tom/Pictures/tom.jpg", 3, True),
        ("/home/ann/Tom/1.jpg", None, True),
        ("/p/tom thumb/1.jpg", 1, False),
        ("/p/tom_thumb-2.jpg", 1, False),
        ("/p/tom thumb and tom.jpg", 1, True),
    ],
)
def test_forget_reads_a_path_from_what_was_added_on(
    store: Store, path: str, above: int | None, leaves: bool
) -> None:
    store.album.put(SEER, [new_photo(1, path, above=above)])
    store.remember(view_in(50, 9), "Tom")
    store.remember(view_in(51, 8), "Tom Thumb")
    assert store.forget("Tom").photos == leaves
    assert len(store.album.photos()) == 1 - leaves


def test_the_users_own_folder_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/tom"))
    counted = {
        folder: Path(folder, "1.jpg").parts[parts_above(Path(folder)) :]
        for folder in ("/", "/home", "/home/tom", "/home/tom/Tom", "/media/tom")
    }
    assert counted == {
        "/": ("1.jpg",),
        "/home": ("1.jpg",),
        "/home/tom": ("1.jpg",),
        "/home/tom/Tom": ("Tom", "1.jpg"),
        "/media/tom": ("tom", "1.jpg"),
    }


def test_a_store_from_before_the_album_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with Database(str(path)) as db:
        MIGRATIONS.apply(db, stop_before="m002_album")
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.conn.commit()
    with Store.open(path) as store:
        assert store.album.photos() == []
        store.album.put(SEER, [new_photo(1)])
    with Store.open(path) as store:
        assert len(store.album.photos()) == 1
