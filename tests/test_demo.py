"""The demo on photos of coloured blobs: what it teaches, says and writes, and what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kinsight.demo import FRIENDS, choose_pupils
from kinsight.image import load, save
from terminal import Terminal, fine
from tiny import Blob, draw


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photos of each of three colours; in the second of red is a blue one too, and the box says which."""
    folder = tmp_path / "identities"
    red, blue = Blob("red", (60, 200, 220, 420)), Blob("blue", (420, 220, 580, 400))
    pictures = {
        "a-red": [draw([Blob("red", (300, 100, 420, 300))]), draw([red, blue])],
        "b-green": [draw([Blob("green", (100, 100, 300, 300))]), draw([Blob("green", (60, 60, 160, 160))])],
        "c-yellow": [
            draw([Blob("yellow", (100, 100, 300, 300))]),
            draw([Blob("yellow", (60, 60, 160, 160))]),
        ],
    }
    for name, shots in pictures.items():
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(shots):
            save(pixels, folder / name / f"{number:02}.png")
    (folder / "only-one").mkdir()
    save(draw([blue]), folder / "only-one" / "00.png")
    boxes = {"a-red": {"photo": "a-red/01.png", "box_norm_xyxy": [0.09, 0.31, 0.35, 0.66]}}
    (folder / "reference_boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    return folder


def test_every_other_identity_is_taught_from_its_box(photos: Path) -> None:
    red, yellow, green = choose_pupils(photos)
    assert (red.folder, red.reference.name, red.query.name) == ("a-red", "01.png", "00.png")
    assert red.box == pytest.approx((0.09, 0.31, 0.35, 0.66))
    assert (yellow.folder, yellow.reference.name, yellow.box) == ("c-yellow", "00.png", None)
    assert (red.lesson, yellow.lesson, green.lesson) == (FRIENDS[0], FRIENDS[1], None)


def test_the_demo(kinsight: Terminal, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", exc_type=ImportError)
    out = tmp_path / "deep" / "demo"
    said = fine(kinsight("demo", "--photos", photos, "--out", out))
    lines = [line.strip() for line in said.out.splitlines()]
    assert "a-red/00.png, Lala: Lala" in lines
    assert "b-green/01.png, a stranger: nobody known" in lines
    assert any(line.startswith("2 of 2 recognised, 0 of 1 strangers wrongly named; ") for line in lines)
    answers = dict(line.split("  ")[:2] for line in lines if "  " in line)
    assert "Lala" in answers["Where is Lala?"] and "at the top" in answers["Where is Lala?"]
    assert "don't see Milo" in answers["Is Milo in the photo?"]
    assert "Aunt Rosa" in answers["What do you know about Milo?"]
    written = sorted(path.name for path in out.iterdir())
    assert written == ["a-red-00.jpg", "b-green-01.jpg", "c-yellow-01.jpg", "sheet.jpg"]
    assert load(out / "sheet.jpg").width == 4 * 360
    with kinsight.store() as store:
        assert store.concepts() == []


def test_without_a_language_model_the_demo_only_looks(
    home: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from tiny import make_bundle

    make_bundle(tmp_path / "blind")
    kinsight = Terminal(home, tmp_path / "blind", capfd)
    said = fine(kinsight("demo", "--photos", photos, "--out", tmp_path / "demo"))
    assert "a-red/00.png, Lala: Lala" in said.out
    assert "Nothing is asked: the bundle tiny has no language model: " in said.out
    assert (tmp_path / "demo" / "sheet.jpg").is_file()


def test_what_the_demo_needs(kinsight: Terminal, photos: Path, tmp_path: Path) -> None:
    mend = "pass --photos with a folder that holds one folder of two photos or more per identity"
    for words, problem in (
        ([], "the demo has no photos"),
        (["--photos", tmp_path / "none"], f"there is no folder {tmp_path / 'none'}"),
        (["--photos", photos / "a-red"], f"{photos / 'a-red'} holds 0 folders with two photos or more"),
    ):
        said = kinsight("demo", "--out", tmp_path / "demo", *words)
        assert (said.code, said.err) == (1, f"kinsight: {problem}: {mend}.\n")
    said = kinsight("demo", "--photos", photos, "--out", photos / "a-red" / "00.png")
    assert said.code == 1
    assert "cannot make the folder" in said.err
