"""The verbs album, find and inbox, and an `album add` that is killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from children import ended, in_a_child
from kinsight.assistant import Assistant
from kinsight.bundle import read_bundle
from kinsight.config import DeviceConfig
from kinsight.home import open_home
from kinsight.image import load, save
from kinsight.store import Store
from terminal import Terminal, fine
from tiny import Blob, draw

LEFT, RIGHT = (20, 60, 110, 160), (140, 90, 236, 200)
COLOURS = (("red", "blue"), ("green", "red"), ("blue",), ("purple", "red"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos: red is in three of them, blue in two."""
    (tmp_path / "pictures").mkdir()
    for number, colours in enumerate(COLOURS):
        blobs = [Blob(colour, box) for colour, box in zip(colours, (LEFT, RIGHT), strict=False)]
        save(draw(blobs, (256, 256)), tmp_path / "pictures" / f"{number}-{'-'.join(colours)}.png")
    return tmp_path / "pictures"


@pytest.fixture
def filled(kinsight: Terminal, folder: Path) -> Terminal:
    """With the four photos in the album."""
    fine(kinsight("album", "add", folder))
    return kinsight


def test_add_list_and_remove(kinsight: Terminal, folder: Path) -> None:
    said = fine(kinsight("album", "add", folder))
    assert said.out == "4 photos added.\n"
    assert "photos a second" in said.err
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "2-blue.png").rename(folder / "two.png")
    said = kinsight("album", "add", folder)
    assert said.code == 1
    first, second, third = said.out.splitlines()
    assert first == "0 photos added, 3 known already, 1 found in another place."
    assert second == "1 file could not be read:"
    assert third.startswith(f"  {folder / 'torn.jpg'}  ") and "is cut short" in third
    shape = kinsight("album", "add", folder, "--json").json
    assert (shape["format"], shape["added"], shape["known"], shape["moved"]) == (1, 0, 4, 0)
    assert [skipped["photo"] for skipped in shape["skipped"]] == [str(folder / "torn.jpg")]

    lines = fine(kinsight("album", "list")).out.splitlines()
    assert len(lines) == 4 and "two.png" in lines[2] and "256 x 256  1 thing " in lines[2]
    assert fine(kinsight("album", "list", "--json")).json["photos"][2]["things"] == 1
    said = fine(kinsight("album", "remove", folder / "two.png"))
    assert said.out == "1 photo removed from the album; 3 photos in it now.\n"
    (folder / "0-red-blue.png").unlink()
    assert fine(kinsight("album", "remove", "--missing")).out.startswith("1 photo removed")
    assert fine(kinsight("album", "remove", folder)).out.startswith("2 photos removed")
    assert fine(kinsight("album", "list")).out == "The album is empty: kinsight album add FOLDER.\n"


STEADY = """
from kinsight.cli.desk import steady_progress
from kinsight.image.stderr import holding_stderr
with steady_progress() as progress:
    holding_stderr(lambda: progress("album", 1, 2))
    progress("album", 2, 2)
"""


def test_progress_is_seen_while_a_thread_decodes() -> None:
    screen, terminal = os.openpty()
    subprocess.run([sys.executable, "-c", STEADY], stderr=terminal, check=True)
    os.close(terminal)
    assert os.read(screen, 1000) == b"\ralbum: 1 of 2\ralbum: 2 of 2\r\n"
    os.close(screen)


def test_what_is_not_there(kinsight: Terminal, folder: Path) -> None:
    said = kinsight("album", "add", folder / "none")
    assert (said.code, said.err) == (
        1,
        f"kinsight: there is no file or folder {folder / 'none'}: check the path.\n",
    )
    assert "none of these is in the album: see what is with" in kinsight("album", "remove", folder).err
    assert "no file of the album is missing" in kinsight("album", "remove", "--missing").err
    assert kinsight("album", "remove").code == kinsight("album", "remove", folder, "--missing").code == 2
    assert "The album is empty" in fine(kinsight("find", "red")).out


def test_find(filled: Terminal, folder: Path, tmp_path: Path) -> None:
    fine(filled("remember", folder / "1-green-red.png", "--name", "Lala", "--box", "140,90,236,200"))
    fine(filled("remember", folder / "2-blue.png", "--name", "Tom"))
    said = fine(filled("find", "--name", "Lala", "--sheet", tmp_path / "lala.jpg"))
    assert {Path(line.split()[1]).name for line in said.out.splitlines()} == {
        *("0-red-blue.png", "1-green-red.png", "3-purple-red.png"),
    }
    assert load(tmp_path / "lala.jpg").width == 3 * 320
    (one,) = fine(filled("find", "--name", "lala", "--with", "Tom", "--json")).json["results"]
    assert one.keys() == {"photo", "sha256", "score", "concepts", "xyxy"}
    assert one["photo"] == str(folder / "0-red-blue.png")
    assert set(one["concepts"]) == {"Lala", "Tom"}
    assert one["xyxy"] == [pytest.approx(LEFT, abs=8), pytest.approx(RIGHT, abs=8)]

    lines = fine(filled("find", "blue", "--limit", "2")).out.splitlines()
    assert {Path(line.split()[1]).name for line in lines} == {"0-red-blue.png", "2-blue.png"}
    assert all("Tom" in line for line in lines)
    like = fine(filled("find", "--like", folder / "2-blue.png", "--limit", "1", "--json")).json["results"]
    assert [Path(found["photo"]).name for found in like] == ["0-red-blue.png"]
    whole = fine(filled("find", "--like", folder / "2-blue.png", "--region", "0", "--json")).json["results"]
    assert all(found["xyxy"] == [[]] for found in whole)


def test_find_says_what_it_wants(filled: Terminal, folder: Path) -> None:
    for words in ([], [""], ["red", "--name", "Lala"], ["red", "--with", "Tom"], ["red", "--region", "1"]):
        said = filled("find", *words)
        assert said.code == 2 and said.err.count("\n") == 1, words
    assert 'nothing called "Lala" is in the store' in filled("find", "--name", "Lala").err


def test_inbox(filled: Terminal, tmp_path: Path) -> None:
    said = fine(filled("inbox", "list", "--sheet", tmp_path / "inbox.jpg"))
    red, blue = (line.split()[0] for line in said.out.splitlines())
    assert said.out.splitlines()[0].startswith(f"{red}  3 photos of a ")
    assert "next: kinsight inbox show" in said.err
    assert load(tmp_path / "inbox.jpg").height == 2 * 200
    assert fine(filled("inbox")).out == said.out
    groups = fine(filled("inbox", "list", "--json")).json["groups"]
    assert [(group["id"], len(group["members"])) for group in groups] == [(red, 3), (blue, 2)]
    lines = fine(filled("inbox", "show", red, "--sheet", tmp_path / "red.jpg")).out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert fine(filled("inbox", "show", red, "--json")).json["group"] == groups[0]

    said = fine(filled("inbox", "name", red, "Lala", "--category", "toy"))
    assert said.out == "Lala is remembered, 3 views; recognised in 3 photos.\n"
    assert len(fine(filled("inbox", "list", "--json")).json["groups"]) == 1
    assert fine(filled("undo")).out == 'Undone: named "Lala" in the album.\n'
    said = fine(filled("inbox", "name", red, "Lala", "--only", "2,3"))
    assert said.out == "Lala is remembered, 2 views; recognised in 2 photos.\n"
    said = filled("inbox", "name", blue, "Lala")
    assert said.code == 1 and '"Lala" is in the store already' in said.err
    assert fine(filled("inbox", "drop", blue)).out == f"The group {blue} is hidden.\n"
    assert fine(filled("inbox", "list")).out == "Nothing without a name recurs in the album.\n"
    assert "there is no group" in filled("inbox", "show", blue).err
    assert filled("inbox", "name", red, "Tom", "--only", "one").code == 2
    said = fine(filled("forget", "Lala", "--yes"))
    assert (
        said.out == "Lala is forgotten.\n3 photos that may show or name it left the album; the files stay.\n"
    )


def test_photos_of_another_bundle_are_told(filled: Terminal, folder: Path) -> None:
    with sqlite3.connect(filled.home / "store.db") as db:
        db.execute("update album_photo set embedder_id = 'old' where path like '%2-blue%'")
    db.close()
    assert "1 photo must be added anew for this bundle" in fine(filled("find", "red")).err
    assert fine(filled("album", "add", folder)).out == "1 photo added, 3 known already.\n"


def test_killed_while_adding_it_repeats_no_finished_work(
    home: Path, tiny_bundle: Path, device: DeviceConfig, tmp_path: Path
) -> None:
    """Whatever was kept before the kill is kept whole and not looked at again."""
    folder = tmp_path / "many"
    folder.mkdir()
    colours = ("red", "blue", "green")
    for number in range(60):
        pixels = draw([Blob(colours[number % 3], LEFT)], (128 + number, 256))
        save(pixels, folder / f"{number:02}.png")

    def add() -> None:
        with Assistant(open_home(home), read_bundle(tiny_bundle), device) as child:
            child.album.add([folder])

    moments = random.Random(3)
    kept: dict[str, tuple[int, str]] = {}
    kills = 0
    for _ in range(6):
        child = in_a_child(add)
        wanted = min(60, len(kept) + 16 * moments.randint(0, 1))
        deadline = time.monotonic() + 60
        while len(photos_in(home)) < wanted and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        kills += ended(child) == -signal.SIGKILL
        now = photos_in(home)
        assert {sha: now.get(sha) for sha in kept} == kept
        assert len(now) in (16, 32, 48, 60) or len(now) == len(kept)
        kept = now
    assert kills >= 2
    with Assistant(open_home(home), read_bundle(tiny_bundle), device) as last:
        report = last.album.add([folder])
        assert (report.added, report.known) == (60 - len(kept), len(kept))
        assert len(last.album.shots().regions) == 60
        assert last.store.check() == []


def photos_in(home: Path) -> dict[str, tuple[int, str]]:
    """Hash -> id and time of every photo in the album of a home."""
    if not (home / "store.db").exists():
        return {}
    with Store.open(home / "store.db") as store:
        return {photo.sha256: (photo.id, photo.added) for photo in store.album.photos()}
