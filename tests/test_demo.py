"""The demo on drawn albums and on photos of coloured blobs: what it teaches, says and writes, and needs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kinsight.assistant import Lesson
from kinsight.cli import cli
from kinsight.cli.desk import DRAWN
from kinsight.demo import FRIENDS, SEED, Friend, Look, Programme, drawn_programme, photo_programme
from kinsight.demo.show import counted, next_commands
from kinsight.image import load, save
from kinsight.prompt import fitting_sentence
from kinsight.types import Concept, Match, Photo, Regions, Scene
from terminal import Terminal, fine, typed
from tiny import Blob, BlobPhoto, draw


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
    programme = photo_programme(photos)
    red, yellow = programme.friends
    assert [friend.lesson for friend in (red, yellow)] == [lesson for lesson, _ in FRIENDS[:2]]
    assert [friend.question for friend in (red, yellow)] == [
        "When did Lala come to us?",
        "Whose present was Milo?",
    ]
    assert (red.picture, red.box) == (photos / "a-red" / "01.png", pytest.approx((0.09, 0.31, 0.35, 0.66)))
    assert (yellow.picture, yellow.box) == (photos / "c-yellow" / "00.png", (0, 0, 1, 1))
    assert programme.looks == (
        Look(photos / "a-red" / "00.png", ("Lala",), 0),
        Look(photos / "c-yellow" / "01.png", ("Milo",), 0),
        Look(photos / "b-green" / "01.png", (), 1),
    )


@pytest.mark.stress
def test_an_album_of_ones_own(tmp_path: Path) -> None:
    """Lala the dog and others, several in a picture, strangers and a look-alike among them."""
    programme = drawn_programme(SEED, tmp_path)
    lala = programme.friends[0]
    assert (lala.name, lala.lesson.category, lala.picture.name) == ("Lala", "dog", "lala.png")
    assert len(programme.friends) == 5 and len(programme.looks) == 7
    assert all(load(one.picture).width == 640 for one in (*programme.friends, *programme.looks))
    assert max(len(look.present) for look in programme.looks) > 1
    assert any(look.doubles for look in programme.looks)
    assert any(not look.present for look in programme.looks)
    assert programme == drawn_programme(SEED, tmp_path)
    others = drawn_programme(SEED + 1, tmp_path)
    assert [one.lesson.info for one in others.friends] != [one.lesson.info for one in programme.friends]


def test_every_info_answers_its_question() -> None:
    for number, (lesson, question) in enumerate(FRIENDS):
        assert fitting_sentence(question, Concept(number, lesson.name, info=lesson.info)), question


def test_the_demo_on_photos(kinsight: Terminal, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", exc_type=ImportError)
    out = tmp_path / "deep" / "demo"
    said = fine(kinsight("demo", "--photos", photos, "--out", out))
    lines = [line.strip() for line in said.out.splitlines()]
    assert any(line.startswith("a-red/00.png, Lala: Lala (decode ") for line in lines)
    assert any(line.startswith("b-green/01.png, a stranger: nobody known (decode ") for line in lines)
    assert "2 of 2 recognised; 0 wrongly named, among 1 strangers." in lines
    answers = answers_in(lines)
    assert "Lala" in answers["Where is Lala?"] and "at the top" in answers["Where is Lala?"]
    assert "don't see Milo" in answers["Is Milo in the photo?"]
    assert "spring of 2021" in answers["When did Lala come to us?"]
    assert "Aunt Rosa" in answers["Whose present was Milo?"]
    assert "Where was this photo taken?" not in answers  # the tiny model is blind
    written = sorted(path.name for path in out.iterdir())
    assert written == ["a-red-00.jpg", "b-green-01.jpg", "c-yellow-01.jpg", "sheet.jpg"]
    assert load(out / "sheet.jpg").width == 4 * 360
    assert not (kinsight.home / "store.db").exists()


def answers_in(lines: list[str]) -> dict[str, str]:
    """Question -> answer, of the last time that it was asked."""
    found = (line.split("  ") for line in lines if "  (first token" in line)
    return {row[0]: row[1] for row in found}


def test_the_demo_draws_its_own_album(kinsight: Terminal, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", exc_type=ImportError)
    out = tmp_path / "demo"
    said = fine(kinsight("demo", "--out", out))
    lines = [line.strip() for line in said.out.splitlines()]
    programme = drawn_programme(SEED, tmp_path / "again")
    for look in programme.looks:
        assert any(line.startswith(f"album/{look.picture.name}, {look.truth}: ") for line in lines)
        same = load(look.picture).pixels == load(out / "album" / look.picture.name).pixels
        assert same.all()
    assert sum("Caption  " in line for line in lines) == len(programme.looks)
    answers = answers_in(lines)
    asked = ("Who is in this photo?", programme.friends[1].question, "How tall is Lala?")
    assert set(asked) <= set(answers)
    assert any(question.startswith("Where is ") for question in answers)
    due = sum(len(look.present) for look in programme.looks)
    assert any(f" of {due} recognised; " in line for line in lines)
    assert len(list(out.glob("album-photo-*.jpg"))) == len(programme.looks)
    assert load(out / "sheet.jpg").height == 3 * 316
    remember, ask = lines[-2:]
    lala = out / "album" / "lala.png"
    assert remember == f"kinsight --bundle {kinsight.bundle} remember {lala} --name Lala --category dog"
    assert ask.startswith(f"kinsight --bundle {kinsight.bundle} ask {out}/album/photo-")
    assert ask.endswith(" 'Where is Lala?'")
    assert "drawn scenes" not in said.err
    assert not (kinsight.home / "store.db").exists()


@pytest.mark.stress
def test_another_seed_draws_another_album(kinsight: Terminal, tmp_path: Path) -> None:
    fine(kinsight("demo", "--seed", "2", "--out", tmp_path / "demo"))
    pictures = [load(f / "album" / "lala.png").pixels for f in (tmp_path / "demo",)]
    drawn_programme(SEED, tmp_path / "album")
    assert not (pictures[0] == load(tmp_path / "album" / "lala.png").pixels).all()
    said = kinsight("demo", "--seed", "2", "--photos", tmp_path, "--out", tmp_path / "demo")
    assert said.code == 2 and "--seed is of a drawn album" in said.err


LALA, NINO = (
    Friend(Lesson("Lala", "dog", "Lala eats plums."), "What does Lala eat?", Path("lala.png")),
    Friend(Lesson("Nino"), "Who named Nino?", Path("nino.png")),
)


def test_what_is_asked() -> None:
    """About the first friend whom recall named, about a picture of strangers, and without a photo."""
    strangers = Look(Path("c.png"), (), 1, ("Lala",))
    looks = (Look(Path("a.png"), ("Lala",), 0), Look(Path("b.png"), ("Nino", "Lala"), 0), strangers)
    programme = Programme((LALA, NINO), looks)
    about_lala = ["Who is in this photo?", "Where is Lala?", "What does Lala eat?"]
    seeing = [*about_lala[:2], "Where was this photo taken?", *about_lala[2:]]
    about_strangers = ["Who is in this photo?", "Is Lala in the photo?"]
    scenes = [scene_with("Lala"), scene_with("Nino", "Lala"), scene_with()]
    assert programme.questions(scenes, sees=False) == {1: about_lala, 2: about_strangers}
    assert programme.questions(scenes, sees=True) == {1: seeing, 2: about_strangers}
    alone = [scene_with("Lala"), scene_with(), scene_with("Lala")]
    asked = programme.questions(alone, sees=False)
    assert asked == {0: [*about_lala, "Is Nino in the photo?"], 2: about_strangers}
    nobody = programme.questions([scene_with(), scene_with(), scene_with()], sees=False)
    assert nobody == {1: about_lala, 2: about_strangers}
    assert programme.without_photo() == ["Who named Nino?", "How tall is Lala?"]


def test_who_is_in_a_look_in_words() -> None:
    looks = {
        "Lala": Look(Path("a"), ("Lala",), 0),
        "Lala, a stranger": Look(Path("a"), ("Lala",), 1),
        "Lala, Nino, 2 strangers (almost like Pia)": Look(Path("a"), ("Lala", "Nino"), 2, ("Pia",)),
        "a stranger": Look(Path("a"), (), 1),
    }
    assert {look.truth: look for look in looks.values()} == looks


def test_who_was_recognised_and_who_wrongly_named() -> None:
    looks = (Look(Path("a"), ("Lala", "Nino"), 1), Look(Path("b"), (), 2), Look(Path("c"), ("Lala",), 0))
    scenes = [scene_with("Lala", "Pia"), scene_with("Nino"), scene_with("Lala")]
    assert counted(looks, scenes) == "2 of 3 recognised; 2 wrongly named, among 3 strangers"


def test_what_to_try_next() -> None:
    looks = (Look(Path("b.png"), ("Nino",), 0), Look(Path("a b.png"), ("Lala",), 0))
    programme = Programme((LALA, NINO), looks)
    assert next_commands(programme, None) == [
        "kinsight remember lala.png --name Lala --category dog",
        "kinsight ask 'a b.png' 'Where is Lala?'",
    ]


def scene_with(*names: str) -> Scene:
    """A scene in which recall accepted these."""
    n = len(names)
    regions = Regions(np.zeros((n, 4), np.float32), np.ones(n, np.float32), ("dog",) * n)
    matches = tuple((Match(name, 1, 1, 0.9, 0.9, 0.9, "accepted"),) for name in names)
    photo = Photo(np.zeros((8, 8, 3), np.uint8), "", "")
    return Scene(photo, "tiny", regions, np.zeros((n + 1, 4), np.float32), matches, (), {})


def test_without_a_language_model_the_demo_only_looks(
    home: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from tiny import make_bundle

    make_bundle(tmp_path / "blind")
    kinsight = Terminal(home, tmp_path / "blind", capfd)
    said = fine(kinsight("demo", "--photos", photos, "--out", tmp_path / "demo"))
    assert "a-red/00.png, Lala: Lala (" in said.out
    assert "Nothing is asked: the bundle tiny has no language model: " in said.out
    assert (tmp_path / "demo" / "sheet.jpg").is_file()


@pytest.fixture
def photo_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle, saying that it was made for photos."""
    folder = tmp_path / "photo-bundle"
    shutil.copytree(tiny_bundle, folder)
    text = (folder / "bundle.toml").read_text(encoding="utf-8")
    (folder / "bundle.toml").write_text(text.replace('"drawn"', '"photos"'), encoding="utf-8")
    return folder


def test_what_the_demo_needs(
    home: Path, photo_bundle: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kinsight = Terminal(home, photo_bundle, capfd)
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


@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_a_drawn_bundle_says_so(kinsight: Terminal, blob_photo: BlobPhoto, as_json: bool) -> None:
    """Once at every look at a picture of the user's own, beside the answer, and how to get another bundle."""
    pytest.importorskip("llama_cpp", exc_type=ImportError)
    photo = blob_photo([Blob("red", (60, 200, 220, 420))])
    json_option = ["--json"] if as_json else []
    verbs: list[list[str | Path]] = [
        ["look", photo, *json_option],
        ["ask", photo, "Who is this?", *json_option],
        ["caption", photo, *json_option],
    ]
    if not as_json:
        verbs.insert(0, ["remember", photo, "--name", "Lala"])
    for words in verbs:
        said = fine(kinsight(*words))
        assert said.err.count(DRAWN) == 1 and DRAWN not in said.out
        if words[0] != "remember":
            assert DRAWN not in fine(kinsight("--quiet", *words)).err


def test_a_talk_on_a_drawn_bundle_says_so(
    kinsight: Terminal, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llama_cpp", exc_type=ImportError)
    with typed("/quit\n", monkeypatch):
        said = fine(kinsight("chat", blob_photo([Blob("red", (60, 200, 220, 420))])))
    assert said.err.count(DRAWN) == 1


def test_a_photo_bundle_does_not_say_so(
    home: Path, photo_bundle: Path, blob_photo: BlobPhoto, capfd: pytest.CaptureFixture[str]
) -> None:
    said = fine(Terminal(home, photo_bundle, capfd)("look", blob_photo([Blob("red", (60, 200, 220, 420))])))
    assert DRAWN not in said.err


def test_what_a_drawn_bundle_says_names_the_mend() -> None:
    named = re.findall(r"`kinsight (\w+)[^`]*`", DRAWN)
    assert "drawn scenes" in DRAWN and named
    assert set(named) <= set(cli.commands)
