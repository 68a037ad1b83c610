"""The interview: who, where, whether and what was told, about photos of known identities and of strangers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from identities import draw_identities
from kinsight.assistant import Assistant
from kinsight.errors import ConfigError
from kinsight.evaluate import Interview, Interviewer, Reader, cross_fitted, fit_on, questions
from kinsight.evaluate.questions import NAMES
from kinsight.image import load, save
from talkers import NEEDS_LLAMA_CPP
from terminal import Terminal, fine
from tiny import Blob, draw

pytestmark = NEEDS_LLAMA_CPP


@pytest.fixture
def identities(tmp_path: Path) -> Path:
    """Three photos each of cyan (Lala), red (Momo) and yellow (Zoë)."""
    return draw_identities(tmp_path / "blobs", ["red", "yellow", "cyan"], photos=3)


def silent(what: str, done: int, total: int) -> None:
    """No word on the progress."""


def counts(result: Interview) -> dict[str, tuple[int, int, int, int]]:
    """Of each kind: asked, right, abstained, wrong."""
    return {
        kind: (tally.asked, tally.right, tally.abstained, len(tally.wrong))
        for kind, tally in result.tallies.items()
    }


def test_all_is_right(assistant: Assistant, identities: Path, tmp_path: Path) -> None:
    """The model talks nonsense, so the plain words of the facts are what is judged."""
    others, told = draw_identities(tmp_path / "others", ["blue", "purple"], photos=1), []
    result = Interviewer(assistant, identities, lambda *row: told.append(row)).run([others])
    seen = (6, 6, 0, 0)
    assert counts(result) == {
        **{"who": seen, "where": seen, "present": seen, "absent": seen, "caption": seen},
        **{"stranger": (2, 2, 0, 0), "told": (3, 3, 0, 0)},
    }
    assert (result.questions(), result.stray, result.subjects_right()) == (35, [], 3)
    assert result.plain > 20
    assert [row for row in told if row[1] == row[2]] == [
        ("photos asked about", 6, 6), ("strangers asked about", 2, 2)
    ]  # fmt: skip


@pytest.mark.stress
def test_an_identity_is_taught_from_its_box(assistant: Assistant, identities: Path) -> None:
    boxes = {"red": {"photo": "red/02.png", "box_norm_xyxy": [0.25, 0.5, 0.75, 1]}}
    (identities / "reference_boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    Interviewer(assistant, identities, silent).run([])
    (momo,) = assistant.store.concept("Momo").views
    assert momo.photo_sha256 == load(identities / "red" / "02.png").sha256
    assert momo.xyxy == pytest.approx((64, 128, 192, 256))
    (lala,) = assistant.store.concept("Lala").views
    assert lala.photo_sha256 == load(identities / "cyan" / "00.png").sha256
    assert lala.xyxy == pytest.approx((0, 0, 256, 256))


def test_who_is_not_recognised_is_abstained_from(assistant: Assistant, identities: Path) -> None:
    save(draw([], (256, 256)), identities / "red" / "02.png")
    result = Interviewer(assistant, identities, silent).run([])
    assert counts(result) == {
        **dict.fromkeys(("who", "where", "present", "caption"), (6, 5, 1, 0)),
        **{"absent": (6, 6, 0, 0), "stranger": (0, 0, 0, 0), "told": (3, 3, 0, 0)},
    }
    assert result.subjects_right() == 3  # Momo was right in the other photo


def test_who_is_named_in_place_of_another_is_wrong(assistant: Assistant, identities: Path) -> None:
    """The last photo of red shows yellow, and the absent one who is asked about there is yellow."""
    save(draw([Blob("yellow", (60, 60, 180, 200))], (256, 256)), identities / "red" / "02.png")
    result = Interviewer(assistant, identities, silent).run([])
    assert counts(result) == {
        **{"who": (6, 5, 0, 1), "where": (6, 5, 1, 0), "present": (6, 5, 1, 0), "caption": (6, 5, 0, 1)},
        **{"absent": (6, 5, 0, 1), "stranger": (0, 0, 0, 0), "told": (3, 3, 0, 0)},
    }
    (who,), (absent,) = result.tallies["who"].wrong, result.tallies["absent"].wrong
    assert who.startswith("red: ") and "Zoë" in who
    assert "red/02.png, Zoë: " in absent
    assert (result.stray, result.subjects_right()) == ([], 2)  # recall named Zoë, the answer only said so


@pytest.mark.stress
def test_who_is_named_beside_another_is_wrong(assistant: Assistant, identities: Path) -> None:
    both = [Blob("red", (20, 60, 120, 200)), Blob("yellow", (140, 60, 240, 200))]
    save(draw(both, (256, 256)), identities / "red" / "02.png")
    result = Interviewer(assistant, identities, silent).run([])
    seen = (6, 6, 0, 0)
    assert counts(result) == {
        **{"who": (6, 5, 0, 1), "where": seen, "present": seen, "absent": (6, 5, 0, 1)},
        "caption": (6, 5, 0, 1),
        **{"stranger": (0, 0, 0, 0), "told": (3, 3, 0, 0)},
    }
    (who,) = result.tallies["who"].wrong
    assert "Momo" in who and "Zoë" in who


@pytest.mark.stress
def test_a_stranger_who_is_named_is_wrong(assistant: Assistant, identities: Path, tmp_path: Path) -> None:
    twins = draw_identities(tmp_path / "twins", ["red", "purple"], photos=1, seed=5)
    result = Interviewer(assistant, identities, silent).run([twins])
    assert counts(result)["stranger"] == (2, 1, 0, 1)
    assert "Momo" in result.tallies["stranger"].wrong[0]


@pytest.mark.stress
def test_what_was_told_must_be_in_the_answer(
    assistant: Assistant, identities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ("What does {name} like most?", "{name} likes blueberries most of all.", "carrots")
    monkeypatch.setattr(questions, "_TOLD", (told,))
    result = Interviewer(assistant, identities, silent).run([])
    assert counts(result)["told"] == (3, 0, 0, 3)
    assert all("blueberries" in line for line in result.tallies["told"].wrong)
    assert result.subjects_right() == 0


def test_each_identity_is_judged_by_the_rules_of_others(assistant: Assistant, identities: Path) -> None:
    """Rules that accept nobody are given to red alone."""
    rules = assistant.rules
    never = replace(rules.calibration, accept_probability=1.0, unsure_probability=1.0)
    fits = {"red": replace(rules, calibration=never), "cyan": rules, "yellow": rules}
    result = Interviewer(assistant, identities, silent, fits).run([])
    assert counts(result)["present"] == (6, 4, 2, 0)
    assert result.subjects_right() == 2


def test_the_rules_of_a_fold_come_from_the_others(assistant: Assistant, tmp_path: Path) -> None:
    colours = ["red", "yellow", "cyan", "pink"]
    folder = draw_identities(tmp_path / "four", colours, photos=6)
    shots = Reader(assistant.detector, assistant.embedder).identities(folder)
    fits = cross_fitted(shots, frozenset(), folds=2)
    assert sorted(fits) == sorted(colours)
    mine = fits["red"]
    partners = [colour for colour in colours if fits[colour] is mine]
    assert len(partners) == 2
    others = [shot for shot in shots if shot.identity not in partners]
    fitted = fit_on(others, "other identities")
    assert mine.calibration == fitted.calibration
    np.testing.assert_array_equal(mine.cohort, fitted.cohort)


def test_what_cannot_be_asked_about(assistant: Assistant, identities: Path, tmp_path: Path) -> None:
    lonely = draw_identities(tmp_path / "lonely", ["red"])
    with pytest.raises(ConfigError, match="lonely holds 1 folders with two photos or more: give a folder"):
        Interviewer(assistant, lonely, silent)
    with pytest.raises(ConfigError, match=r"there is no photo in .*gone"):
        Interviewer(assistant, identities, silent).run([tmp_path / "gone"])
    assert assistant.store.concepts() == []
    for number in range(len(NAMES) - 2):
        (identities / f"more-{number}").mkdir()
        for name in ("a.png", "b.png"):
            (identities / f"more-{number}" / name).touch()
    with pytest.raises(ConfigError, match=f"has {len(NAMES) + 1} identities: give at most {len(NAMES)}"):
        Interviewer(assistant, identities, silent)


def test_eval_questions(
    home: Path, tiny_bundle: Path, identities: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kinsight = Terminal(home, tiny_bundle, capfd)
    save(draw([Blob("yellow", (60, 60, 180, 200))], (256, 256)), identities / "red" / "01.png")
    said = fine(kinsight("eval", "questions", identities, "--verbose"))
    *lines, last = said.out.splitlines()
    found = json.loads(last)
    assert {key: found[key] for key in ("format", "eval", "questions", "stray_names", "subjects")} == {
        "format": 1, "eval": "questions", "questions": 33, "stray_names": 0, "subjects": 3
    }  # fmt: skip
    assert found["who"] == {"asked": 6, "right": 5, "abstained": 0, "wrong": 1}
    assert found["subjects_all_right"] == 2
    assert lines[0] == "who: 6 asked, 5 right, 0 abstained, 1 wrong"
    assert lines[1].startswith("  wrong: red: ")
    assert not (home / "store.db").exists()  # nothing of the user's is touched
