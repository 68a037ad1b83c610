"""The verbs of the store, without any bundle, and what of a name may reach the terminal."""

from __future__ import annotations

import base64
import sqlite3
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from crops import crop
from kinsight.cli.show import clean, clean_line
from kinsight.image import encode_jpeg, load
from kinsight.store import Changes, NewView
from photos import SEER, new_photo
from terminal import Terminal, fine, typed
from tiny import Blob, draw

NASTY = "\x1b[2J\x1b]0;owned\x07[bold red]Lala[/bold red]\x9b31m\u202eevil\x00"


@pytest.fixture
def kinsight(home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """With Lala and Tom in the store, and no bundle."""
    home.mkdir(mode=0o700)
    monkeypatch.setattr("sys.stdin", None)
    terminal = Terminal(home, None, capfd)
    with terminal.store() as store:
        store.remember(picture("red"), "Lala", "dog", "Lala loves the sea.\nShe sleeps a lot.")
        store.add_view("Lala", picture("green"))
        store.remember(picture("blue"), "Tom")
    return terminal


def picture(colour: str) -> NewView:
    made = crop(len(colour))
    pixels = draw([Blob(colour, (0, 0, 90, 60))], (90, 60))
    return NewView(encode_jpeg(pixels), made.xyxy, made.photo_sha256, made.embedder_id, made.vector)


def test_concepts(kinsight: Terminal) -> None:
    lala, tom = fine(kinsight("concepts")).out.splitlines()
    assert lala.split("  ") == ["Lala", "dog", "2 views", "Lala loves the sea. She sleeps a lot."]
    assert tom.split() == ["Tom", "1", "view"]
    shape = fine(kinsight("concepts", "--json")).json
    with kinsight.store() as store:
        known = store.concepts()
    assert shape["format"] == 1
    assert [concept["name"] for concept in shape["concepts"]] == ["Lala", "Tom"]
    for concept, record in zip(known, shape["concepts"], strict=True):
        assert record.keys() == asdict(concept).keys()
        assert [view["id"] for view in record["views"]] == [view.id for view in concept.views]
        assert tuple(record["views"][0]["xyxy"]) == concept.views[0].xyxy


def test_an_empty_store_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kinsight = Terminal(tmp_path / "new", None, capfd)
    assert "kinsight remember PHOTO --name NAME" in fine(kinsight("concepts")).out
    assert fine(kinsight("concepts", "--json")).json == {"format": 1, "concepts": []}
    assert fine(kinsight("history")).out == "Nothing was changed yet.\n"


def test_a_long_info_is_cut_in_the_list_only(kinsight: Terminal) -> None:
    fine(kinsight("edit", "Tom", "--info", "狗" * 300))
    tom = fine(kinsight("concepts")).out.splitlines()[1]
    assert tom.endswith("  " + "狗" * 59 + "…")
    assert "狗" * 300 in fine(kinsight("show", "Tom")).out


def test_show(kinsight: Terminal, tmp_path: Path) -> None:
    said = fine(kinsight("show", "lala", "--out", tmp_path / "views.png"))
    assert said.out.splitlines()[:3] == [
        "name      Lala",
        "category  dog",
        "info      Lala loves the sea. She sleeps a lot.",
    ]
    assert said.err == f"its views are in {tmp_path / 'views.png'}\n"
    sheet = load(tmp_path / "views.png").pixels
    assert (sheet.shape[1], sheet.shape[0]) == (640, 320)
    assert fine(kinsight("show", "Tom", "--out", tmp_path / "tom.png", "-q")).err == ""
    assert load(tmp_path / "tom.png").pixels[30, 45] == pytest.approx((30, 50, 225), abs=12)
    shape = fine(kinsight("show", "Lala", "--json")).json
    assert (shape["format"], shape["concept"]["info"]) == (1, "Lala loves the sea.\nShe sleeps a lot.")


def test_edit_and_undo(kinsight: Terminal) -> None:
    words = "--rename", "Lalita", "--category", "", "--info", "New.", "--alias", "Lala", "--alias", "L"
    said = fine(kinsight("edit", "Lala", *words))
    assert said.out.splitlines()[:4] == [
        "Changed.",
        "name   Lalita",
        "also   Lala, L",
        "info   New.",
    ]
    assert fine(kinsight("edit", "L", "--no-alias", "L", "--info", "New.")).out.startswith("Changed.")
    assert fine(kinsight("edit", "Lala", "--info", "New.")).out.startswith("It was so already.")
    for _ in range(2):
        assert fine(kinsight("undo")).out.startswith("Undone: ")
    with kinsight.store() as store:
        concept = store.concept("Lala")
    assert (concept.name, concept.category, concept.aliases) == ("Lala", "dog", ())


def test_edit_without_a_change_says_what_can_be_changed(kinsight: Terminal) -> None:
    said = kinsight("edit", "Lala")
    assert said.code == 2
    assert said.err == (
        "kinsight: nothing is to be changed, give --rename, --category, --info, an alias, a view or a "
        "negative: see `kinsight edit --help`.\n"
    )


def test_edit_takes_views_and_negatives_away(kinsight: Terminal) -> None:
    with kinsight.store() as store:
        store.add_negative("Lala", picture("yellow"))
        before = store.concept("Lala")
    said = fine(kinsight("edit", "Lala", "--no-view", "2", "--no-negative", "1"))
    assert said.out.splitlines()[-1].startswith("views     1 view, since ")
    with kinsight.store() as store:
        left = store.concept("Lala")
        assert ([view.id for view in left.views], left.negatives) == ([1], ())
    said = kinsight("edit", "Lala", "--no-view", "1")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith('kinsight: that would leave "Lala" without any view: `kinsight forget`')
    said = kinsight("edit", "Lala", "--info", "New.", "--no-negative", "1")
    assert said.err == 'kinsight: "Lala" has no negative 1: the negatives of "Lala" are: none.\n'
    assert kinsight("edit", "Lala", "--no-view", "0").code == 2
    fine(kinsight("undo"))
    with kinsight.store() as store:
        assert store.concept("Lala").views == before.views
        assert store.concept("Lala").negatives == before.negatives


def test_show_draws_views_and_negatives(kinsight: Terminal, tmp_path: Path) -> None:
    with kinsight.store() as store:
        store.add_negative("Lala", picture("yellow"))
    said = fine(kinsight("show", "Lala", "--out", tmp_path / "all.png"))
    assert said.err == f"its views and negatives are in {tmp_path / 'all.png'}\n"
    sheet = load(tmp_path / "all.png").pixels
    middles = [tuple(sheet[150, 160 + 320 * column].tolist()) for column in range(3)]
    colours = [
        draw([Blob(colour, (0, 0, 90, 60))], (90, 60))[30, 45] for colour in ("red", "green", "yellow")
    ]
    assert np.abs(np.array(middles, int) - np.array(colours, int)).max() <= 12


def test_history(kinsight: Terminal) -> None:
    lines = fine(kinsight("history")).out.splitlines()
    assert [line.split("  ")[1] for line in lines] == [
        'remembered "Tom"',
        'added a view of "Lala"',
        'remembered "Lala"',
    ]
    (entry,) = fine(kinsight("history", "--limit", "1", "--json")).json["history"]
    assert (entry["verb"], entry["summary"]) == ("remember", 'remembered "Tom"')
    assert entry["at"].startswith("20")


def test_forget_asks_first(kinsight: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    said = kinsight("forget", "lala")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "kinsight: forgetting Lala with 2 views cannot be undone: pass --yes to do it without being asked.\n"
    )
    with typed("n\n", monkeypatch):
        said = kinsight("forget", "lala")
    assert said.code == 130
    assert "Forget Lala with 2 views? This cannot be undone. [y/N]" in said.err
    with kinsight.store() as store:
        assert [concept.name for concept in store.concepts()] == ["Lala", "Tom"]
    with typed("y\n", monkeypatch):
        assert fine(kinsight("forget", "lala")).out == "Lala is forgotten.\n"
    assert fine(kinsight("forget", "tom", "--yes")).out == "Tom is forgotten.\n"
    with kinsight.store() as store:
        assert store.concepts() == []


def test_forget_says_what_goes_along(kinsight: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with kinsight.store() as store:
        store.album.put(SEER, [new_photo(1, "/photos/lala.jpg"), new_photo(2, "/photos/Lala/2.jpg")])
        store.edit("Tom", Changes(info="Lala's friend"))
        store.edit("Tom", Changes(info=""))
    along = (
        "2 photos that may show or name it leave the album and 3 changes of others can no longer be undone"
    )
    assert f"cannot be undone, and {along}: pass --yes" in kinsight("forget", "lala").err
    with typed("y\n", monkeypatch):
        said = fine(kinsight("forget", "lala"))
    assert f"Forget Lala with 2 views? With it, {along}. This cannot be undone. [y/N]" in said.err
    assert "3 changes of others can no longer be undone.\n" in said.out
    assert kinsight("undo").code == 1


def bytes_in(home: Path, wanted: NewView) -> bool:
    """Whether a part of the picture or the vector is in a file, plain or as the journal keeps it."""
    data = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    parts = [wanted.picture_jpeg[-120:-60], wanted.vector.tobytes()]
    encoded = base64.b64encode(wanted.picture_jpeg)
    return any(part in data for part in (*parts, encoded[-120:-60]))


def test_a_view_alone_is_forgotten(kinsight: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = kinsight.home / "cache" / "llm"
    readings.mkdir(parents=True)
    with kinsight.store() as store:
        store.album.put(SEER, [new_photo(5, "/photos/a b.jpg")])  # view 2 is from it
    said = kinsight("forget", "lala", "--view", "2")
    assert said.err == (
        "kinsight: forgetting view 2 of Lala cannot be undone, and 2 changes can no longer be undone: "
        "pass --yes to do it without being asked.\n"
    )
    with typed("n\n", monkeypatch):
        said = kinsight("forget", "lala", "--view", "2")
    assert said.code == 130 and bytes_in(kinsight.home, picture("green"))
    assert (
        "Forget view 2 of Lala? With it, 2 changes can no longer be undone. This cannot be undone. [y/N]"
    ) in said.err
    with typed("y\n", monkeypatch):
        said = fine(kinsight("forget", "lala", "--view", "2"))
    assert said.out.splitlines() == [
        "View 2 of Lala is forgotten.",
        "2 changes can no longer be undone.",
        "The photo it is from stays in the album: `kinsight album remove '/photos/a b.jpg'` takes it out.",
    ]
    assert not bytes_in(kinsight.home, picture("green")) and not readings.exists()
    said = kinsight("forget", "Lala", "--view", "2", "--yes")
    assert said.err == 'kinsight: "Lala" has no view 2: the views of "Lala" are: 1.\n'
    said = kinsight("forget", "Lala", "--view", "1", "--yes")
    assert "without any view: `kinsight forget` without --view deletes all of it" in said.err
    with kinsight.store() as store:
        assert [len(store.concepts()), len(store.album.photos())] == [2, 1]


def test_a_view_is_forgotten_with_its_copies(kinsight: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with kinsight.store() as store:
        for _ in range(2):
            store.add_view("Lala", picture("green"))
    with typed("n\n", monkeypatch):
        asked = kinsight("forget", "lala", "--view", "2").err
    assert "With it, views 4, 5 with the same picture go too and 4 changes can no longer be undone." in asked
    said = fine(kinsight("forget", "lala", "--view", "2", "--yes"))
    assert said.out.splitlines()[:2] == [
        "View 2 of Lala is forgotten.",
        "With it went views 4, 5, the same picture.",
    ]
    assert not bytes_in(kinsight.home, picture("green"))


def test_a_negative_alone_is_forgotten_also_after_it_was_taken_away(kinsight: Terminal) -> None:
    with kinsight.store() as store:
        store.add_negative("Lala", picture("yellow"))
        store.add_negative("Lala", crop(40))
    said = fine(kinsight("forget", "Lala", "--negative", "1", "--yes"))
    assert said.out.splitlines()[0] == "Negative 1 of Lala is forgotten." and "album" not in said.out
    assert not bytes_in(kinsight.home, picture("yellow"))
    fine(kinsight("edit", "Lala", "--no-negative", "2"))
    fine(kinsight("edit", "Lala", "--no-view", "2"))
    assert bytes_in(kinsight.home, crop(40)) and bytes_in(kinsight.home, picture("green"))
    for kind in ("negative", "view"):
        fine(kinsight("forget", "Lala", f"--{kind}", "2", "--yes"))
    assert not bytes_in(kinsight.home, crop(40)) and not bytes_in(kinsight.home, picture("green"))
    assert kinsight("forget", "Tom", "--negative", "1", "--yes").code == 1
    assert kinsight("forget", "Lala", "--negative", "1", "--view", "1").code == 2
    with kinsight.store() as store:
        assert [len(concept.views) for concept in store.concepts()] == [1, 1] and store.check() == []


def test_forget_takes_what_the_language_model_kept(kinsight: Terminal) -> None:
    readings = kinsight.home / "cache" / "llm" / "states"
    readings.mkdir(parents=True)
    (readings / "of-lala.blob").write_bytes(b"Lala")
    fine(kinsight("forget", "lala", "--yes"))
    assert not readings.parent.exists()


def test_show_numbers_the_views(kinsight: Terminal) -> None:
    with kinsight.store() as store:
        store.add_negative("Lala", picture("yellow"))
    lines = fine(kinsight("show", "Lala")).out.splitlines()[3:]
    assert [line.split()[:2] for line in lines] == [
        ["views", "2"],
        ["view", "1"],
        ["view", "2"],
        ["negative", "1"],
    ]
    assert lines[1].endswith(f"4,2,103,50 of photo {'0' * 8}")


def test_merge_split_and_move(kinsight: Terminal) -> None:
    said = fine(kinsight("merge", "Tom", "--into", "Lala")).out.splitlines()
    assert said[:2] == ["name      Lala", "also      Tom"]
    said = fine(kinsight("split", "Lala", "2", "3", "--into", "Tom")).out.splitlines()
    assert (said[0], said[-1].split()[:3]) == ("name      Tom", ["views", "2", "views,"])
    fine(kinsight("move", "2", "--from", "Tom", "--to", "Lala"))
    with kinsight.store() as store:
        views = {concept.name: [view.id for view in concept.views] for concept in store.concepts()}
    assert views == {"Lala": [1, 2], "Tom": [3]}
    said = kinsight("move", "1", "2", "--from", "Lala", "--to", "Tom")
    assert said.code == 1
    assert said.err == (
        'kinsight: that would leave "Lala" without any view: merge "Lala" into "Tom", if they are the same.\n'
    )
    said = kinsight("split", "Lala", "1", "--into", "tom")
    assert '"tom" is in the store already: `kinsight move 1 --from Lala --to tom` gives it' in said.err
    assert kinsight("split", "Lala", "--into", "Momo").code == 2
    assert kinsight("split", "Lala", "first", "--into", "Momo").code == 2


def test_undo_of_several(kinsight: Terminal) -> None:
    for word in ("one", "two", "three"):
        fine(kinsight("edit", "Tom", "--info", word))
    assert fine(kinsight("undo", "2")).out == 'Undone: changed the info of "Tom".\n' * 2
    assert fine(kinsight("show", "Tom")).out.splitlines()[1].split() == ["info", "one"]
    said = kinsight("undo", "9")
    assert (said.code, said.out) == (1, "")
    assert "9 changes cannot be undone, there are only 4" in said.err
    assert fine(kinsight("undo", "--json")).json == {"format": 1, "undone": ['changed the info of "Tom"']}
    assert kinsight("undo", "0").code == 2


def test_export_and_import(kinsight: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert fine(kinsight("store", "export", folder)).out == f"2 concepts exported into {folder}\n"
    said = kinsight("store", "import", folder)
    assert (said.code, said.out) == (1, "")
    assert 'the store has "Lala", "Tom" already; nothing was brought in' in said.err
    fine(kinsight("forget", "Tom", "--yes"))
    words = "store", "import", folder, "--on-conflict"
    assert fine(kinsight(*words, "rename", "--dry-run")).out.splitlines() == [
        "Lala: as Lala 2, the name is taken",
        "2 concepts would be brought in.",
    ]
    assert fine(kinsight(*words, "rename", "--dry-run", "--json")).json == {
        "format": 1,
        "dry_run": True,
        "concepts": [
            {"name": "Lala", "kept_as": "Lala 2", "dropped_aliases": []},
            {"name": "Tom", "kept_as": "Tom", "dropped_aliases": []},
        ],
    }
    assert fine(kinsight(*words, "skip")).out.splitlines() == [
        "Lala: left out, the name is taken",
        "1 concept brought in.",
    ]
    assert [line.split()[0] for line in fine(kinsight("concepts")).out.splitlines()] == ["Lala", "Tom"]
    fine(kinsight("undo"))
    assert len(fine(kinsight("concepts")).out.splitlines()) == 1


def test_a_folder_of_rap_is_known_by_its_file(kinsight: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "rap"
    with kinsight.store() as store:
        store.add_negative("Tom", picture("yellow"))
    said = fine(kinsight("store", "export", folder, "--format", "rap"))
    assert said.err.endswith("1 negative was not exported: RAP's layout has no place for them\n")
    fine(kinsight("forget", "Lala", "--yes"))
    for given in (folder, folder / "database.json"):
        said = kinsight("store", "import", given)
        assert said.err == f"kinsight: {given} is in RAP's layout: bring it in with --format rap.\n"
    fine(kinsight("forget", "Tom", "--yes"))
    assert "2 concepts brought in" in fine(kinsight("store", "import", folder, "--format", "rap")).out
    said = fine(kinsight("store", "export", tmp_path / "none", "--format", "rap"))
    assert "negative" not in said.err


def test_export_and_import_for_rap(kinsight: Terminal, tmp_path: Path) -> None:
    fine(kinsight("store", "export", tmp_path / "rap", "--format", "rap"))
    assert (tmp_path / "rap" / "database.json").is_file()
    said = fine(kinsight("store", "import", tmp_path / "rap", "--format", "rap", "--on-conflict", "rename"))
    assert said.out.splitlines()[-1] == "2 concepts brought in."


def test_backup_and_restore(kinsight: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "backup.zip"
    assert fine(kinsight("store", "backup", file)).out == f"2 concepts backed up in {file}\n"
    assert "replace it with --replace" in kinsight("store", "backup", file).err
    fine(kinsight("forget", "Tom", "--yes"))
    said = kinsight("store", "restore", file)
    assert (said.code, said.out) == (1, "")
    assert "pass --yes to do it without being asked" in said.err
    with typed("n\n", monkeypatch):
        assert kinsight("store", "restore", file).code == 130
    assert len(fine(kinsight("concepts")).out.splitlines()) == 1
    assert fine(kinsight("store", "restore", file, "--yes")).out == "2 concepts restored.\n"
    (kinsight.home / "store.db").write_bytes(b"no store")
    assert "store restore FILE" in kinsight("concepts").err
    said = fine(kinsight("store", "restore", file, "--yes"))
    assert "forget does not reach it, so delete it when you can" in said.out
    assert len(fine(kinsight("concepts")).out.splitlines()) == 2


def test_no_control_character_of_a_name_reaches_the_terminal(kinsight: Terminal) -> None:
    """The store lets none in, but another program may."""
    with sqlite3.connect(kinsight.home / "store.db") as db:
        db.execute("update concept set name = ?, info = ? where id = 1", (NASTY, NASTY))
        db.execute("update journal set summary = ?", (f'remembered "{NASTY}"',))
    db.close()
    shown = "\\x1b[2J\\x1b]0;owned\\x07[bold red]Lala[/bold red]\\x9b31m\\u202eevil\\x00"
    for words in (["concepts"], ["show", "Lala"], ["history"], ["forget", "Lala"], ["undo"]):
        said = kinsight(*words)
        assert shown in said.out + said.err, words
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\x00"} & set(said.out + said.err)
    said = fine(kinsight("concepts", "--json"))
    assert not {"\x1b", "\x9b", "\u202e"} & set(said.out)
    assert said.json["concepts"][0]["info"] == NASTY


def test_clean() -> None:
    assert clean("two\r\nlines\tand é 狗 🐕\u200d🦺") == "two\nlines\tand é 狗 🐕\u200d🦺"
    assert clean("\r\ud800") == "\\x0d\\ud800"
    assert clean_line("two\nlines\r\n\x1b") == "two lines \\x1b"
