"""Concepts out into a folder and in again: unchanged, all at once, and nothing that was tampered with."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crops import crop
from kinsight.errors import ArchiveError, ConceptError, DuplicateName
from kinsight.exchange import export_folder, export_rap, read_folder, read_rap
from kinsight.image import encode_jpeg, save
from kinsight.store import MANIFEST, Changes, NewView, Store, manifest
from kinsight.types import Concept


def silent(what: str, done: int, total: int) -> None:
    assert 1 <= done <= total


def picture(seed: int) -> NewView:
    made = crop(seed)
    pixels = np.full((6, 8, 3), seed, np.uint8)
    return NewView(encode_jpeg(pixels), made.xyxy, made.photo_sha256, made.embedder_id, made.vector)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and the folder `out` of it: Lala with two views, a negative and two aliases, and Tom."""
    place = tmp_path_factory.mktemp("exported")
    with Store.open(place / "store.db") as opened:
        opened.remember(picture(1), "Lala", "dog", "She loves the sea.\nHer friend is Tom.")
        opened.add_view("Lala", picture(2))
        opened.add_negative("Lala", picture(3))
        opened.edit("Lala", Changes(add_aliases=("Lalita", "🐕\u200d🦺")))
        opened.remember(picture(4), "Tom / ../x")
        assert export_folder(opened, place / "out", silent) == 2
    return place


@pytest.fixture
def store(exported: Path, tmp_path: Path) -> Iterator[Store]:
    with Store.open(shutil.copy(exported / "store.db", tmp_path)) as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "other").mkdir()
    with Store.open(tmp_path / "other" / "store.db") as opened:
        yield opened


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported / "out", tmp_path / "out"))


def content(store: Store, concept: Concept) -> dict[str, Any]:
    """Everything of a concept and its pictures, but for the ids."""
    record = asdict(concept)
    del record["id"]
    for kind, crops in (("view", record["views"]), ("negative", record["negatives"])):
        for made in crops:
            made["picture"] = store.picture(kind, made.pop("id"))
    return record


def all_of(store: Store) -> list[dict[str, Any]]:
    return [content(store, concept) for concept in store.concepts()]


def test_what_goes_out_comes_in_unchanged(store: Store, other: Store, folder: Path) -> None:
    arrivals = other.bring(read_folder(folder, silent))
    assert [(a.name, a.kept_as, a.dropped_aliases) for a in arrivals] == [
        ("Lala", "Lala", ()),
        ("Tom / ../x", "Tom / ../x", ()),
    ]
    assert all_of(other) == all_of(store)
    assert len(other.views_without_vector("e")) == 4
    assert other.check() == []
    (entry,) = other.history()
    assert (entry.verb, entry.summary) == ("import", 'imported "Lala", "Tom / ../x"')
    other.undo()
    assert other.size() == dict.fromkeys(other.size(), 0)


def test_the_folder_is_open(folder: Path, store: Store) -> None:
    root = json.loads((folder / "concepts.json").read_text("utf-8"))
    assert root["format"] == 1
    lala = root["concepts"][0]
    assert (lala["name"], lala["aliases"]) == ("Lala", ["Lalita", "🐕\u200d🦺"])
    assert lala["views"][1]["xyxy"] == [2.5, 2.25, 102.125, 50.0]
    assert (folder / lala["views"][0]["picture"]).read_bytes() == picture(1).picture_jpeg
    for line in (folder / MANIFEST).read_text("utf-8").splitlines():
        hexadecimal, name = line.split("  ")
        assert sha256((folder / name).read_bytes()).hexdigest() == hexadecimal
    assert sorted(path.name for path in folder.iterdir()) == ["concepts.json", MANIFEST, "pictures"]
    with pytest.raises(ArchiveError, match="choose the name of a new folder"):
        export_folder(store, folder, silent)


def test_what_goes_out_is_of_one_moment(store: Store, tmp_path: Path) -> None:
    before = all_of(store)

    def meddle(what: str, done: int, total: int) -> None:
        with Store.open(store.path) as another:
            another.edit("Tom / ../x", Changes(info=f"since then, {done}"))

    export_folder(store, tmp_path / "out", meddle)
    assert [incoming.info for incoming in read_folder(tmp_path / "out", silent)] == [
        record["info"] for record in before
    ]
    assert store.concept("Tom / ../x").info == "since then, 2"


def test_names_that_are_taken(store: Store, other: Store, folder: Path) -> None:
    incoming = read_folder(folder, silent)
    other.remember(picture(9), "LALA")
    other.remember(picture(8), "Momo")
    other.edit("Momo", Changes(add_aliases=("lalita", "Lala 2")))
    before = all_of(other)
    with pytest.raises(
        DuplicateName, match=r'the store has "Lala", "Lalita" already; nothing .* --on-conflict skip'
    ):
        other.bring(incoming)
    planned = other.arrivals(incoming, "rename")
    assert all_of(other) == before
    assert other.bring(incoming, "rename") == planned
    assert [(a.kept_as, a.dropped_aliases) for a in planned] == [("Lala 3", ("Lalita",)), ("Tom / ../x", ())]
    assert other.concept("Lala 3").aliases == ("🐕\u200d🦺",)
    other.undo()
    skipped = other.bring(incoming, "skip")
    assert [a.kept_as for a in skipped] == [None, "Tom / ../x"]
    assert all(a.kept_as is None for a in other.bring(incoming, "skip"))
    assert [concept.name for concept in other.concepts()] == ["LALA", "Momo", "Tom / ../x"]
    assert other.history(1)[0].summary == 'imported "Tom / ../x"'


def test_a_number_leaves_room_for_the_names_that_come_along(
    store: Store, other: Store, tmp_path: Path
) -> None:
    long = "ß" * 500
    store.remember(picture(5), "Lala 2")
    store.remember(picture(6), long)
    export_folder(store, tmp_path / "out", silent)
    other.remember(picture(7), "lala")
    other.remember(picture(8), long)
    names = [a.kept_as for a in other.bring(read_folder(tmp_path / "out", silent), "rename")]
    assert names == ["Lala 3", "Tom / ../x", "Lala 2", "ß" * 498 + " 2"]


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change concepts.json and make its hash fit again, as a forger would."""
    path = folder / "concepts.json"
    root = json.loads(path.read_text("utf-8"))
    change(root)
    path.write_text(json.dumps(root), "utf-8")
    rehash(folder)


def rehash(folder: Path) -> None:
    names = [line.split("  ")[1] for line in (folder / MANIFEST).read_text("utf-8").splitlines()]
    hashes = {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / MANIFEST).write_bytes(manifest(hashes))


def with_picture(data: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / FIRST).write_bytes(data)
        rehash(folder)

    return change


def linked(folder: Path) -> None:
    (folder / "real.jpg").write_bytes((folder / FIRST).read_bytes())
    (folder / FIRST).unlink()
    (folder / FIRST).symlink_to(folder.parent / "real.jpg")


def linked_folder(folder: Path) -> None:
    (folder / "pictures").rename(folder.parent / "elsewhere")
    (folder / "pictures").symlink_to(folder.parent / "elsewhere")


def grown(folder: Path) -> None:
    with (folder / FIRST).open("r+b") as file:
        file.truncate(30_000_000)


def listed(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / MANIFEST).open("a") as file:
            file.write(f"{'0' * 64}  {name}\n")

    return change


def value(key: str, new: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        rewrite(folder, lambda root: root["concepts"][0].update({key: new}))

    return change


def crop_value(key: str, new: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        rewrite(folder, lambda root: root["concepts"][0]["views"][0].update({key: new}))

    return change


FIRST = "pictures/000001.jpg"
TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a picture is missing": (lambda f: (f / FIRST).unlink(), "is missing"),
    "a picture was changed": (lambda f: (f / FIRST).write_bytes(b"\xff\xd8x"), "does not fit its hash"),
    "the texts were changed": (lambda f: (f / "concepts.json").write_bytes(b"{}"), "does not fit its hash"),
    "no list": (lambda f: (f / MANIFEST).unlink(), "manifest.sha256 is missing"),
    "a damaged list": (lambda f: (f / MANIFEST).write_bytes(b"x"), "manifest.sha256 of .* is damaged"),
    "a file more": (lambda f: (f / "more.exe").write_bytes(b"x"), "holds more.exe, which is not in"),
    "a huge file": (grown, "has more than 20 MB"),
    "a link": (linked, "is a link or no plain file"),
    "a linked folder": (linked_folder, "is a link or no plain file"),
    "a pipe": (lambda f: os.mkfifo(f / "pictures" / "x"), "is a link or no plain file"),
    "a path out": (listed("../store.db"), "lists other files"),
    "an absolute path": (listed("/etc/passwd"), "lists other files"),
    "a path back": (listed("pictures/../../1.jpg"), "lists other files"),
    "twice in the list": (listed(FIRST), "is damaged"),
    "no picture": (with_picture(b"\x89PNG\r\n\x1a\n"), "is no JPEG"),
    "a damaged picture": (with_picture(b"\xff\xd8\xff\xdb0000"), "damaged|cut|JPEG"),
    "no JSON": (lambda f: [(f / "concepts.json").write_bytes(b"{"), rehash(f)], "is not JSON"),
    "deep JSON": (lambda f: [(f / "concepts.json").write_bytes(b"[" * 100_000), rehash(f)], "is not JSON"),
    "a list": (lambda f: [(f / "concepts.json").write_bytes(b"[]"), rehash(f)], "holds no concepts"),
    "another format": (lambda f: rewrite(f, lambda root: root.update(format=2)), "'format' is 2"),
    "a key more": (value("sql", "x"), "'sql' is not known"),
    "a number as name": (value("name", 5), "'name' is 5"),
    "no date": (value("created", "yesterday"), "'created' is 'yesterday'"),
    "an odd fingerprint": (value("fingerprint", [1]), "'fingerprint' is"),
    "a path in the JSON": (crop_value("picture", "../../etc/passwd"), "'picture' is"),
    "not in the list": (crop_value("picture", "pictures/999999.jpg"), "is not in manifest"),
    "an unused picture": (crop_value("picture", "pictures/000002.jpg"), "does not use pictures/000001"),
    "an empty box": (crop_value("xyxy", [5, 5, 5, 9]), "'xyxy' is"),
    "a huge box": (crop_value("xyxy", [0, 0, 10**400, 9]), "'xyxy' is"),
    "no hash": (crop_value("photo_sha256", "0" * 63 + "X"), "'photo_sha256' is"),
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_a_folder_that_was_tampered_with_is_refused(folder: Path, kind: str) -> None:
    tamper, reason = TAMPERED[kind]
    tamper(folder)
    with pytest.raises(ArchiveError, match=reason):
        read_folder(folder, silent)


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (value("name", "\x1b[2J"), r"U\+001B"),
        (value("name", "\ud800"), r"U\+D800"),
        (value("info", "i" * 10_001), '"Lala" cannot be brought in: the info has 10001 characters'),
        (value("aliases", ["Tom / ../x"]), 'two of the incoming are called "Tom / ../x"'),
        (value("aliases", ["la", "LA"]), 'two of the incoming are called "LA"'),
    ],
)
def test_texts_that_cannot_be_kept_are_refused(
    folder: Path, other: Store, tamper: Callable[[Path], None], reason: str
) -> None:
    tamper(folder)
    for act in (other.bring, other.arrivals):
        with pytest.raises(ConceptError, match=reason):
            act(read_folder(folder, silent))
    assert other.size()["concept"] == 0


def test_a_picture_that_changes_while_it_comes_in(folder: Path, other: Store) -> None:
    incoming = read_folder(folder, silent)
    (folder / "pictures" / "000004.jpg").write_bytes(picture(5).picture_jpeg)
    with pytest.raises(ArchiveError, match="does not fit its hash"):
        other.bring(incoming)
    assert other.size() == dict.fromkeys(other.size(), 0)


def test_what_systems_leave_in_folders_is_ignored(folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "pictures" / "._000001.jpg").write_bytes(b"x")
    (folder / ".Trashes").mkdir()
    assert len(read_folder(folder, silent)) == 2


def test_rap_out_and_in(store: Store, other: Store, tmp_path: Path) -> None:
    assert export_rap(store, tmp_path / "rap", silent) == 2
    root = json.loads((tmp_path / "rap" / "database.json").read_text("utf-8"))
    assert root["concept_dict"]["<Lala>"] == {
        "name": "Lala",
        "image": "pictures/000001.jpg",
        "info": "She loves the sea.\nHer friend is Tom.",
        "category": "dog",
    }
    assert root["path_to_concept"] == {
        "pictures/000001.jpg": "<Lala>",
        "pictures/000002.jpg": "<Lala>",
        "pictures/000003.jpg": "<Tom / ../x>",
    }
    other.bring(read_rap(tmp_path / "rap", silent))
    lala, tom = other.concepts()
    assert (lala.name, lala.category, lala.info) == ("Lala", "dog", "She loves the sea.\nHer friend is Tom.")
    assert (len(lala.views), tom.name, len(tom.views)) == (2, "Tom / ../x", 1)
    assert lala.views[0].xyxy == (0.0, 0.0, 8.0, 6.0)
    assert lala.views[0].photo_sha256 == sha256(picture(1).picture_jpeg).hexdigest()


def rap(folder: Path, image: str, **more: Any) -> None:
    """A database of one concept as others write it, beside its picture."""
    record = {"name": "<Anya>", "image": image, "info": "A girl.", "category": "person", "score": 1}
    root = {"concept_dict": {"<Anya>": record}, "path_to_concept": {image: "<Anya>"}, **more}
    folder.mkdir()
    (folder / "database.json").write_text(json.dumps(root), "utf-8")
    save(np.zeros((20, 1000, 3), np.uint8), folder / "anya.png")


def test_a_name_in_brackets_keeps_them(other: Store, tmp_path: Path) -> None:
    other.remember(picture(1), "<Anya>")
    export_rap(other, tmp_path / "rap", silent)
    assert [incoming.name for incoming in read_rap(tmp_path / "rap", silent)] == ["<Anya>"]


@pytest.mark.parametrize("image", ["anya.png", "./example/anya.png", "example/anya.png", "{folder}/anya.png"])
def test_a_database_of_others(other: Store, tmp_path: Path, image: str) -> None:
    folder = tmp_path / "example"
    rap(folder, image.format(folder=folder), note="more")
    assert len(read_rap(folder / "database.json", silent)) == 1
    other.bring(read_rap(folder, silent))
    (anya,) = other.concepts()
    assert (anya.name, anya.info, anya.category) == ("Anya", "A girl.", "person")
    assert anya.views[0].xyxy == (0.0, 0.0, 1000.0, 20.0)
    assert other.view_picture(anya.views[0].id).startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "image", ["../secret.png", "/etc/passwd", "other.png", "link.png", "a\0b", "", "x" * 5000]
)
def test_a_picture_from_elsewhere_is_refused(tmp_path: Path, image: str) -> None:
    save(np.zeros((9, 9, 3), np.uint8), tmp_path / "secret.png")
    rap(tmp_path / "example", image)
    (tmp_path / "example" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ArchiveError, match="is not in"):
        read_rap(tmp_path / "example", silent)


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ({}, "'concept_dict' is missing"),
        ({"concept_dict": []}, "'concept_dict' is"),
        ({"concept_dict": {"<A>": "x"}}, "is no table"),
        ({"concept_dict": {"<A>": {"name": 1, "image": "x"}}}, "'name' is 1"),
        ({"concept_dict": {}, "path_to_concept": {"x.png": "<B>"}}, "not there"),
        ({"concept_dict": {}, "path_to_concept": {"x.png": ["<B>"]}}, "not there"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, root: dict[str, Any], reason: str) -> None:
    (tmp_path / "database.json").write_text(json.dumps(root), "utf-8")
    with pytest.raises(ArchiveError, match=reason):
        read_rap(tmp_path, silent)
