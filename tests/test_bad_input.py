"""Whatever is wrong with the input: one sentence with the mend, an exit code, and nothing lost."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from children import held
from conftest import BlobPhoto
from crops import crop
from kinsight import Assistant, Lesson
from kinsight.image import encode_jpeg
from kinsight.store import JournalEntry, Store
from kinsight.types import Concept
from terminal import ONE_THREAD, Said, Terminal, fine
from test_image import BOMB, CMYK_RED_8X8, png
from tiny import Blob, draw

RED = Blob("red", (60, 200, 220, 420))
GREEN = Blob("green", (420, 220, 580, 400))
NOBODY = 65534


@pytest.fixture
def taught(assistant: Assistant, blob_photo: BlobPhoto) -> Assistant:
    """Lala, who is red, and Tom."""
    assistant.remember(blob_photo([RED]), Lesson("Lala", "box", "Lala loves the sea."))
    assistant.remember(blob_photo([GREEN]), Lesson("Tom"))
    return assistant


def kept(store: Store) -> tuple[list[Concept], list[JournalEntry], list[str]]:
    """Everything that a user would miss, and what SQLite finds wrong."""
    return store.concepts(), store.history(), store.check()


def refused(said: Said, words: str) -> None:
    """One sentence, with a mend behind the colon."""
    assert said.code == 1
    assert said.out == ""
    assert "Traceback" not in said.err
    (sentence,) = said.err.splitlines()
    assert sentence.startswith("kinsight: ")
    assert sentence.count(": ") >= 2
    assert sentence[-1] in ".?"
    assert words in sentence


JPEG = encode_jpeg(draw([RED]))
BAD_PHOTOS = {
    "missing": (None, "there is no file"),
    "empty": (b"", "is empty"),
    "text called .jpg": (b"A letter to Lala.\n", "is a text file"),
    "truncated": (JPEG[: len(JPEG) // 2], "cut short"),
    "60,000 x 60,000 bomb": (BOMB, "60000 x 60000 pixels"),
}
ODD_PHOTOS = {
    "1 x 1": png(1, 1, 8, 2, bytes([0, 200, 30, 30])),
    "4000 x 10": png(4000, 10, 8, 2, 10 * (b"\0" + 4000 * bytes([200, 30, 30]))),
    "grey": png(40, 30, 8, 0, 30 * (b"\0" + 40 * b"\x80")),
    "alpha": png(40, 30, 8, 6, 30 * (b"\0" + 40 * bytes([200, 30, 30, 128]))),
    "16 bits": png(40, 30, 16, 2, 30 * (b"\0" + 40 * struct.pack(">3H", 51200, 7680, 7680))),
    "CMYK": CMYK_RED_8X8,
}


@pytest.mark.parametrize("verb", ["look", "remember"])
@pytest.mark.parametrize("case", BAD_PHOTOS)
def test_a_bad_photo_is_refused(
    kinsight: Terminal, taught: Assistant, tmp_path: Path, case: str, verb: str
) -> None:
    data, words = BAD_PHOTOS[case]
    photo = tmp_path / "bad.jpg"
    if data is not None:
        photo.write_bytes(data)
    before = kept(taught.store)
    said = kinsight("-q", verb, photo, *(["--name", "Zed"] if verb == "remember" else []))
    refused(said, words)
    assert "bad.jpg" in said.err
    assert kept(taught.store) == before


@pytest.mark.parametrize("case", ODD_PHOTOS)
def test_an_odd_photo_is_looked_at_and_taught(
    kinsight: Terminal, taught: Assistant, tmp_path: Path, case: str
) -> None:
    photo = tmp_path / "odd.jpg"
    photo.write_bytes(ODD_PHOTOS[case])
    before = kept(taught.store)
    assert fine(kinsight("-q", "look", photo, "--out", tmp_path / "out.png")).err == ""
    assert kept(taught.store) == before
    said = fine(kinsight("-q", "remember", photo, "--name", "Odd"))
    assert (said.out.startswith("Odd is remembered"), said.err) == (True, "")
    concepts, history, wrong = kept(taught.store)
    assert (concepts[:2], history[1:], wrong) == before
    assert len(concepts[2].views) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "Lla"], 'nothing called "Lla" is in the store: did you mean "Lala"?'),
        (["edit", "Zed", "--info", "x"], 'nothing called "Zed" is in the store'),
        (["forget", "Zed", "--yes"], 'nothing called "Zed" is in the store'),
        (["remember", "{photo}", "--name", "Zed", "--add"], 'nothing called "Zed" is in the store'),
        (["remember", "{photo}", "--name", "LALA"], '"Lala" is in the store already'),
        (["edit", "Tom", "--rename", "lala"], '"lala" is the name of another one'),
        (["edit", "Tom", "--info", "x", "--alias", "Lala"], '"Lala" is the name of another one'),
        (["remember", "{photo}", "--name", " \u200b"], "the name is empty"),
        (["remember", "{photo}", "--name", "La\x1b[2Jla"], "the name contains U+001B"),
        (["remember", "{photo}", "--name", "Zed", "--region", "9"], "there is no region 9"),
        (
            ["remember", "{photo}", "--name", "Zed", "--box", "700,0,900,50"],
            "is not in this photo of 640 x 640",
        ),
        (
            ["remember", "{photo}", "--name", "Zed", "--box", "nan,0,90,50"],
            "is not in this photo of 640 x 640",
        ),
        (["look", "{photo}", "--out", "no/such/folder.png"], "cannot write no/such/folder.png"),
        (["look", "{photo}", "--out", "named.gif"], "cannot tell a picture format from named.gif"),
        (["--device", "no-such-device", "look", "{photo}"], "there is no device config 'no-such-device'"),
        (["--bundle", "no-such-bundle", "look", "{photo}"], "there is no bundle 'no-such-bundle'"),
    ],
)
def test_what_does_not_fit_is_refused(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, words: list[str], told: str
) -> None:
    photo, before = str(blob_photo([RED])), kept(taught.store)
    refused(kinsight("-q", *(word.format(photo=photo) for word in words)), told)
    assert kept(taught.store) == before


def test_a_box_of_words_is_refused(kinsight: Terminal, blob_photo: BlobPhoto) -> None:
    said = kinsight("remember", blob_photo([RED]), "--name", "Zed", "--box", "left")
    assert said.code == 2
    assert said.err == (
        "kinsight: invalid value for '--box': give four numbers x0,y0,x1,y1 in pixels, "
        "such as 10,20,200,240: see `kinsight remember --help`.\n"
    )


@pytest.mark.parametrize("part", ["detector", "image", "text"])
def test_a_damaged_bundle_is_refused(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, tmp_path: Path, part: str
) -> None:
    """One byte flipped, after the bundle was found to be in order."""
    folder = tmp_path / "bundle"
    shutil.copytree(kinsight.bundle or "", folder)
    mine, photo, before = replace(kinsight, bundle=folder), blob_photo([RED]), kept(taught.store)
    fine(mine("look", photo))
    file = folder / f"{part}.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    for words in (["look", photo], ["remember", photo, "--name", "Zed"], ["ask", photo, "Who is it?"]):
        refused(mine("-q", *words), str(file))
    assert kept(taught.store) == before


@pytest.mark.parametrize(
    ("line", "told"),
    [("colour = 3", "colour"), ("threads = -1", "threads"), ("threads 2", "one-thread.toml")],
)
def test_a_wrong_device_config_is_refused(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, tmp_path: Path, line: str, told: str
) -> None:
    device, before = tmp_path / "my-device.toml", kept(taught.store)
    device.write_text(ONE_THREAD.replace("threads = 1", line), encoding="utf-8")
    said = kinsight("-q", "--device", device, "look", blob_photo([RED]))
    refused(said, told.replace("one-thread", "my-device"))
    assert kept(taught.store) == before


@pytest.fixture
def of_a_plain_user() -> Iterator[Path]:
    """A folder of a user who is not root, for the time of a test: root can write whatever the mode says."""
    folder, root = Path(tempfile.mkdtemp()), os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_a_read_only_home_is_refused(of_a_plain_user: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = of_a_plain_user / "home"
    mine = Terminal(home, None, capfd)
    home.mkdir(mode=0o700)
    with mine.store() as store:
        store.remember(crop(1), "Lala")
        before = kept(store)
    home.chmod(0o500)
    for words in (["concepts"], ["edit", "Lala", "--info", "x"], ["forget", "Lala", "--yes"], ["undo"]):
        refused(mine(*words), f"the home folder {home} cannot be used")
    home.chmod(0o700)
    with mine.store() as store:
        assert kept(store) == before


def test_a_home_that_is_a_file_is_refused(kinsight: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept", encoding="utf-8")
    refused(replace(kinsight, home=file)("concepts"), "not a folder")
    assert file.read_text(encoding="utf-8") == "kept"


def test_a_damaged_store_is_refused(kinsight: Terminal, taught: Assistant) -> None:
    taught.close()
    file = kinsight.home / "store.db"
    data = file.read_bytes()
    file.write_bytes(b"x" + data[1:])
    for verb in ("concepts", "history", "undo"):
        refused(kinsight(verb), "is damaged")
    assert file.read_bytes() == b"x" + data[1:]


@pytest.mark.stress
def test_two_processes_that_teach_at_once_both_do(kinsight: Terminal, blob_photo: BlobPhoto) -> None:
    options = ["--home", str(kinsight.home), "--bundle", str(kinsight.bundle), "-q"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "kinsight", *options, "remember", blob_photo([blob]), "--name", name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, blob in (("Lala", RED), ("Tom", GREEN))
    ]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0), ("", 0)]
    with kinsight.store() as store:
        assert {concept.name for concept in store.concepts()} == {"Lala", "Tom"}
        assert store.check() == []


def test_a_process_that_writes_for_too_long_is_named(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patience of ten seconds is cut down to an instant."""
    monkeypatch.setattr(Store.open.__func__, "__defaults__", (0.05, None))
    photo, before = blob_photo([RED]), kept(taught.store)
    with held(kinsight.home / "store.db", "immediate"):
        for words in (
            ["remember", photo, "--name", "Zed"],
            ["edit", "Lala", "--info", "x"],
            ["forget", "Lala", "--yes"],
            ["undo"],
        ):
            refused(kinsight("-q", *words), "is in use by another process: wait until that has finished")
        assert "Lala" in fine(kinsight("concepts")).out
    assert kept(taught.store) == before
