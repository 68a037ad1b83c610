"""The helps of the command line, and the verbs that see: remember and look."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from conftest import BlobPhoto
from kinsight import Assistant, Lesson
from kinsight.cli import cli
from kinsight.image import load
from kinsight.types import Concept, scene_json
from terminal import Terminal, fine, typed
from tiny import COLOURS, Blob

RED = Blob("red", (60, 200, 220, 420))
BLUE = Blob("blue", (420, 220, 580, 400))
GREEN = Blob("green", (60, 480, 240, 600))
BALL = Blob("green", (420, 420, 560, 560), "ball")


def verbs(group: click.Group) -> Iterator[list[str]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from ([name, *verb] for verb in verbs(command))
        else:
            yield [name]


def test_every_help_has_an_example_that_calls_the_verb(kinsight: Terminal) -> None:
    overview = fine(kinsight("--help")).out
    assert fine(kinsight()).out == overview
    assert all(f"\n  {name} " in overview for name in cli.commands)
    for verb in verbs(cli):
        text = " ".join(fine(kinsight(*verb, "--help")).out.split())
        assert f": kinsight {' '.join(verb)}" in text.partition("Example")[2]


def test_help_and_import_load_no_engine() -> None:
    script = """
import sys, kinsight
assert not hasattr(kinsight, "no_such_name")
from kinsight.cli import main
try: main(["--help"])
except SystemExit: pass
print(sorted({"numpy", "cv2", "onnxruntime", "usearch", "sqlite3", "llama_cpp", "rich"} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_remember_has_answered_before_it_encodes(
    kinsight: Terminal, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that Ctrl-C costs nothing then."""
    said: list[str] = []

    def prepare(assistant: Assistant, concept: Concept) -> int:
        said.append(f"{kinsight.capture.readouterr().out} {len(assistant.store.concepts())}")
        raise KeyboardInterrupt

    monkeypatch.setattr(Assistant, "prepare", prepare)
    assert fine(kinsight("remember", blob_photo([RED]), "--name", "Lala")).out == ""
    assert len(said) == 1 and said[0].startswith("Lala is remembered: ") and said[0].endswith(" 1")


def test_remember_and_look(kinsight: Terminal, blob_photo: BlobPhoto, tmp_path: Path) -> None:
    said = fine(kinsight("remember", blob_photo([RED]), "--name", "Lala", "--out", tmp_path / "lala.png"))
    assert said.out.splitlines() == [
        "Lala is remembered: 1: box, on the left, 9 % of the photo",
        "One more photo of Lala from the side would help.",
    ]
    reference = load(tmp_path / "lala.png").pixels
    assert (reference[200, 60:220] != COLOURS["red"]).any(axis=1).all()  # the upper edge is drawn over

    photo = blob_photo([Blob("red", (420, 60, 560, 200)), BALL])
    said = fine(kinsight("look", photo, "--out", tmp_path / "named.jpg"))
    name, others = said.out.splitlines()
    assert name.startswith("Lala: at the top right (a box, region ")
    assert others.startswith("Not known: a ball at the bottom right (region ")
    assert load(tmp_path / "named.jpg").width == 640


def test_look_prints_exactly_the_scene_as_json(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto
) -> None:
    photo = blob_photo([RED, BLUE])
    shape = fine(kinsight("look", photo, "--json")).json
    expected = scene_json(taught.look(photo))
    shape.pop("timings_ms"), expected.pop("timings_ms")
    assert shape == expected
    assert {region["matches"][0]["concept"] for region in shape["regions"]} == {"Lala", "Tom"}


def test_nobody_is_said_to_be_nobody(kinsight: Terminal, blob_photo: BlobPhoto) -> None:
    said = fine(kinsight("look", blob_photo([RED]), "--why"))
    assert said.out.splitlines() == [
        "I don't know anyone in this photo.",
        "Not known: a box on the left (region 1)",
        "Nobody was taught to this bundle's embedder yet.",
    ]


def test_why_tells_what_was_needed(kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto) -> None:
    taught.remember(blob_photo([GREEN]), Lesson("Zed", category="ball"))
    lines = fine(kinsight("look", blob_photo([RED, GREEN]), "--why")).out.splitlines()
    (lala,) = [line for line in lines if line.startswith("region") and "of Lala" in line]
    assert "(needed " in lala and lala.endswith(": accepted")
    (zed,) = [line for line in lines if line.startswith("region") and "of Zed" in line]
    assert zed.endswith("more was needed, as the detector sees a box and not a ball")


def test_why_tells_that_another_region_is_nearer(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto
) -> None:
    twins = blob_photo([RED, Blob("red", (420, 200, 580, 420))])
    said = fine(kinsight("look", twins, "--why"))
    assert sum(line.startswith("Lala: ") for line in said.out.splitlines()) == 1
    assert said.out.count("another region is nearer to Lala") == 1


def test_several_candidates_are_numbered_where_nobody_can_be_asked(
    kinsight: Terminal, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = blob_photo([RED, BLUE])
    said = kinsight("-q", "remember", photo, "--name", "Lala")
    numbers = Path(f"{photo.stem}-regions.png")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "on the left" in said.err and "on the right" in said.err
    assert f"--region N, or draw your own with --box x0,y0,x1,y1; {numbers} shows the numbers." in said.err
    assert (load(numbers).pixels != load(photo).pixels).any()
    with kinsight.store() as store:
        assert store.concepts() == []


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (("--region", "0"), "the whole photo"),
        (("--box", "60,200,220,420"), "your box, on the left"),
        (("--category", "ball"), "ball, at the bottom right, 5 % of the photo"),
    ],
)
def test_where_it_is_can_be_told(
    kinsight: Terminal, blob_photo: BlobPhoto, where: tuple[str, str], words: str
) -> None:
    said = fine(kinsight("remember", blob_photo([RED, BLUE, BALL]), "--name", "Lala", *where))
    assert said.out.splitlines()[0].endswith(words)
    with kinsight.store() as store:
        (view,) = store.concept("Lala").views
    boxes = {"--region": (0, 0, 640, 640), "--box": (60, 200, 220, 420), "--category": (420, 420, 560, 560)}
    assert view.xyxy == pytest.approx(boxes[where[0]], abs=12)


@pytest.mark.parametrize(("answer", "left"), [("2\n", 60), ("9\nthe red one\n2\n", 60), ("\n", 400)])
def test_on_a_terminal_the_user_is_asked_which(
    kinsight: Terminal, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch, answer: str, left: float
) -> None:
    """Region 1 is blue, as it is bigger."""
    monkeypatch.chdir(kinsight.home.parent)
    photo = blob_photo([RED, Blob("blue", (400, 180, 600, 440))])
    with typed(answer, monkeypatch):
        said = fine(kinsight("remember", photo, "--name", "Lala"))
    assert "Which one is Lala? (0: the whole photo, q: none of them)" in said.err
    with kinsight.store() as store:
        assert store.concept("Lala").views[0].xyxy[0] == pytest.approx(left, abs=12)


def test_who_answers_q_teaches_nothing(
    kinsight: Terminal, blob_photo: BlobPhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kinsight.home.parent)
    with typed("q\n", monkeypatch):
        said = kinsight("-q", "remember", blob_photo([RED, BLUE]), "--name", "Lala")
    assert said.code == 130
    assert said.err.endswith("kinsight: stopped.\n")
    with kinsight.store() as store:
        assert store.concepts() == []


def test_another_view(kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto) -> None:
    said = fine(kinsight("remember", blob_photo([BALL]), "--name", "lala", "--add"))
    assert said.out.startswith("Lala is remembered, 2 views now: 1: ball, ")
    assert len(taught.store.concept("Lala").views) == 2


def test_not_this_one(kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto) -> None:
    alike = (225, 50, 30)
    photo = blob_photo([Blob(alike, RED.box), GREEN])
    again = blob_photo([Blob(alike, (300, 60, 460, 280))])
    own = kinsight("not", blob_photo([RED]), "lala")
    assert own.code == 1 and 'this is view 1 of "Lala" itself' in own.err
    assert "no other view; if it was taught wrongly, `kinsight forget Lala` deletes all of it" in own.err
    assert fine(kinsight("look", again)).out.startswith("Lala: ")
    copy = fine(kinsight("not", blob_photo([RED, GREEN]), "lala"))
    assert "It looks just like a view of Lala, so nothing but its copies loses the name.\n" in copy.out
    assert fine(kinsight("look", again)).out.startswith("Lala: ")
    fine(kinsight("undo"))
    said = fine(kinsight("not", photo, "lala"))
    first, second, *_ = said.out.splitlines()
    assert first == "Lala is not 1: box, on the left, 9 % of the photo; undo takes this back."
    assert second == "I don't know anyone in this photo."
    assert fine(kinsight("look", again)).out.startswith("I don't know anyone")
    why = fine(kinsight("look", again, "--why")).out
    said = (
        r"similarity 0\.9\d to view 1 of Lala, but (0\.9\d|1\.00) to negative 2, which you said is not Lala, "
    )
    said += r"so more than \d\.\d\d was needed: unknown; similarity "
    assert re.search(rf"^region 1, .*: {said}", why, re.MULTILINE)
    assert fine(kinsight("undo")).out == 'Undone: noted a picture that is not "Lala".\n'
    assert fine(kinsight("look", again)).out.startswith("Lala: ")


def test_what_was_said_before_is_not_noted_again(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto
) -> None:
    photo, again = blob_photo([BALL, GREEN]), ("Lala", "--region", "1")
    fine(kinsight("not", photo, *again))
    before = taught.store.concept("Lala"), taught.store.history()
    said = fine(kinsight("not", photo, *again)).out.splitlines()[0]
    assert said.startswith("You said before that Lala is not 1: ") and said.endswith("; nothing was changed.")
    assert (taught.store.concept("Lala"), taught.store.history()) == before
    assert fine(kinsight("not", photo, "Lala", "--region", "2")).out.startswith("Lala is not 2: ")
    assert len(taught.store.concept("Lala").negatives) == 2


def test_what_is_not_there_cannot_be_refused(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto
) -> None:
    photo = blob_photo([BALL])
    said = kinsight("-q", "not", photo, "Lala")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "nothing in this photo is taken for Lala: say what is not with --region N" in said.err
    said = kinsight("-q", "not", photo, "Lala", "--region", "7")
    assert said.err.endswith(
        "there is no region 7 in this photo: choose one of 1 to 1, 0: the whole photo.\n"
    )
    assert "Lola" in kinsight("-q", "not", photo, "Lola").err
    assert fine(kinsight("not", photo, "Lala", "--region", "1")).out.startswith("Lala is not 1: ball, ")
    assert len(taught.store.concept("Lala").negatives) == 1


def test_why_as_a_picture(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, tmp_path: Path
) -> None:
    photo, out = blob_photo([RED, BLUE]), tmp_path / "why.png"
    said = fine(kinsight("look", photo, "--why", out))
    assert "similarity " in said.out and f"drawn in {out}" in said.err
    picture = load(out).pixels
    assert picture.shape[1] == 4 * 260 and picture.shape[0] == 3 * 240
    reds = [(picture[:240, left : left + 260] == COLOURS["red"]).all(axis=2).any() for left in (0, 260)]
    blues = [(picture[:240, left : left + 260] == COLOURS["blue"]).all(axis=2).any() for left in (0, 260)]
    assert any(reds) != any(blues)  # the crop and its nearest view show the same one
    assert fine(kinsight("look", "--why", photo)).out == said.out


def test_why_draws_who_was_refused_first_beside_the_negative(
    kinsight: Terminal, taught: Assistant, blob_photo: BlobPhoto, tmp_path: Path
) -> None:
    alike, out = (225, 50, 30), tmp_path / "why.png"
    taught.refuse(blob_photo([Blob(alike, RED.box)]), "Lala", 1)
    fine(kinsight("look", blob_photo([Blob(alike, (300, 60, 460, 280))]), "--why", out))
    row = load(out).pixels[:240].astype(int)

    def drawn(cell: int, colour: tuple[int, int, int]) -> bool:
        off = np.abs(row[:, 260 * cell : 260 * (cell + 1)] - colour).max(axis=2)
        return bool((off <= 6).sum() > 400)

    shown = [
        (drawn(cell, alike), drawn(cell, COLOURS["red"]), drawn(cell, COLOURS["blue"])) for cell in range(4)
    ]
    assert shown == [(True, False, False), (False, True, False), (True, False, False), (False, False, True)]


def test_look_without_a_photo(kinsight: Terminal) -> None:
    assert "name the photo to look at" in kinsight("-q", "look", "--why").err
