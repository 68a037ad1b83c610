"""The pocket bench: how answers are judged, what the figures are, and the whole of it on the tiny bundle."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from kinsight.drawn.album import Album, Recipe, draw_album
from kinsight.evaluate.judging import Reply, claims, holds, is_placed, right, verdict
from kinsight.evaluate.pocket import LINES, Notes, Sighting, absent, medians, missed, nearest, scores
from kinsight.types import Box, Match, Photo, Regions, Scene
from terminal import Terminal

FIGURES = ("recall_at_1", "caption_name_f1", "presence_weighted", "absent_naming", "position", "text_qa")
PERFECT = dict(zip(FIGURES, (1.0, 1.0, 1.0, 0.0, 1.0, 1.0), strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes, Lala is in the photo, on the left.", "yes"),
        ("Yes.", "yes"),
        ("Lala is here.", "yes"),
        ("No, I don't see Lala in this photo.", "no"),
        ("No.", "no"),
        ("I do not see Lala.", "no"),
        ("Yes, but Lala is not here.", ""),
        ("I am not sure: the dog on the left may be Lala.", ""),
        ("Maybe Lala is there.", ""),
        ("I don't know.", ""),
        ("I cannot tell without a photo.", ""),
        ("A dog is on the left.", ""),
        ("Nino is on the left.", ""),
        ("Yes, Nino is on the left.", ""),
        ("Is Lala in this photo?", ""),
        ("Lala sleeps in the kitchen.", ""),
        ("Lala is not wearing a hat.", ""),
        ("No doubt, Lala is here.", ""),
        ("Lala is on the left.", "yes"),
        ("I can see Lala.", "yes"),
        ("", ""),
    ],
)
def test_what_an_answer_to_whether_says(text: str, said: str) -> None:
    assert verdict(text, "Lala", NAMES) == said


@pytest.mark.parametrize(
    ("text", "place", "fits"),
    [
        ("Lala is in the photo, on the left.", "on the left", True),
        ("On the left.", "on the left", True),
        ("She is at the top left.", "at the top left", True),
        ("Lala is at the left top.", "at the top left", True),
        ("Lala is in the middle.", "in the middle", True),
        ("Lala is in the photo.", "in the middle", False),
        ("Lala is on the left.", "at the top left", False),
        ("Lala is at the top left.", "on the left", False),
        ("Lala is on the right.", "on the left", False),
        ("Lala is on the left or on the right.", "on the left", False),
        ("Lala is not on the left.", "on the left", False),
        ("Maybe Lala is on the left.", "on the left", False),
        ("I don't see Lala in this photo.", "on the left", False),
        ("Nino is on the left.", "on the left", False),
        ("Nino is on the left, next to Lala.", "on the left", False),
        ("In the photo Nino is on the left.", "on the left", False),
        ("On the left is Nino.", "on the left", False),
        ("Lala is here. Nino is on the left.", "on the left", False),
        ("Lala is in the photo. She is on the left.", "on the left", True),
    ],
)
def test_whether_an_answer_puts_somebody_in_place(text: str, place: str, fits: bool) -> None:
    assert is_placed(text, "Lala", place, NAMES) is fits


@pytest.mark.parametrize(
    ("text", "value", "there"),
    [
        ("Lala is afraid of thunder.", "thunder", True),
        ("Grandma taught Lala.", "grandma", True),
        ("My sister did.", "my sister", True),
        ("In 2019.", "2019", True),
        ("Lala is afraid of thunderstorms.", "thunder", False),
        ("I don't know.", "thunder", False),
        ("Lala is not afraid of thunder.", "thunder", False),
        ("I don't know whether it is thunder.", "thunder", False),
        ("Lala is afraid of thunder or spiders.", "thunder", False),
    ],
)
def test_whether_an_answer_holds_a_value(text: str, value: str, there: bool) -> None:
    assert holds(text, value, ["spiders", "water"]) is there


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("I don't know: nothing that I was told is about this.", True),
        ("That I was not told. What I know of Lala: Lala loves soup.", True),
        ("I was told nothing about Lala yet.", True),
        ("Lala is afraid of thunder.", False),
        ("I don't know, but perhaps spiders.", False),
        ("Lala loves soup.", False),
    ],
)
def test_what_nobody_told_is_not_made_up(text: str, good: bool) -> None:
    assert right(Reply("untold", others=("thunder", "spiders"), text=text)) is good


def test_the_lines_that_a_run_misses() -> None:
    assert missed(PERFECT) == []
    assert missed(PERFECT | {"absent_naming": 0.06, "position": 0.84}) == ["absent_naming", "position"]
    assert missed(dict(LINES)) == []


def test_the_figures_of_perfect_answers(notes: Notes) -> None:
    assert scores(notes, NAMES) == PERFECT


@pytest.mark.parametrize(
    ("kind", "text", "worse"),
    [
        ("caption", "A dog on the left.", {"caption_name_f1"}),
        ("caption", "Lala, Nino and Pia are in the photo.", {"caption_name_f1", "absent_naming"}),
        ("who", "Pia is in the photo.", {"absent_naming"}),
        ("who", "I don't know anyone in this photo.", set()),
        ("where", "Lala is on the right.", {"position"}),
        ("where", "I don't see Lala in this photo.", {"position"}),
        ("present", "I am not sure.", {"presence_weighted"}),
        ("present", "No, I don't see Lala in this photo.", {"presence_weighted"}),
        ("absent", "Yes, Pia is in the photo.", {"presence_weighted"}),
        ("absent", "I am not sure: the dog may be Pia.", {"presence_weighted"}),
        ("told", "I don't know.", {"text_qa"}),
        ("untold", "Lala plays chess.", {"text_qa"}),
    ],
)
def test_a_bad_answer_costs_its_figures_alone(notes: Notes, kind: str, text: str, worse: set[str]) -> None:
    row = next(row for row, reply in enumerate(notes.replies) if reply.kind == kind)
    notes.replies[row] = replace(notes.replies[row], text=text)
    figures = scores(notes, NAMES)
    assert {name for name in FIGURES if figures[name] != PERFECT[name]} == worse
    assert all(0 <= figure <= 1 for figure in figures.values())


def test_a_stranger_who_is_named_counts(notes: Notes) -> None:
    """In the picture of strangers alone."""
    notes.replies.append(Reply("who", text="Pia is in the photo."))
    notes.replies.append(Reply("caption", text="Pia stands on the beach."))
    figures = scores(notes, NAMES)
    assert figures["absent_naming"] == pytest.approx(2 / 5)
    assert figures["caption_name_f1"] == pytest.approx(4 / 5)
    assert {name for name in FIGURES if figures[name] != PERFECT[name]} == {
        "absent_naming",
        "caption_name_f1",
    }


def test_who_is_not_nearest_costs_recall(notes: Notes) -> None:
    notes.sightings += [Sighting("Nino", "Pia"), Sighting("Nino", "")]
    assert scores(notes, NAMES)["recall_at_1"] == 0.5


def test_presence_is_the_mean_of_there_and_not_there(notes: Notes) -> None:
    """However many were asked of each."""
    notes.replies += [replace(reply, text="No.") for reply in notes.of("present") for _ in range(3)]
    assert scores(notes, NAMES)["presence_weighted"] == pytest.approx((1 / 4 + 1) / 2)


def test_saying_no_to_everything_is_half_right(notes: Notes) -> None:
    notes.replies = [replace(r, text="No.") if r.kind in ("present", "absent") else r for r in notes.replies]
    assert scores(notes, NAMES)["presence_weighted"] == 0.5


NAMES = ("Lala", "Nino", "Pia")


@pytest.fixture
def notes() -> Notes:
    """Perfect: one picture with Lala and Nino, one of strangers."""
    replies = [
        Reply("caption", present=("Lala", "Nino"), text="Lala sits beside Nino."),
        Reply("caption", text="A dog in the snow."),
        Reply("who", present=("Lala", "Nino"), text="Lala and Nino are in the photo."),
        Reply("where", "Lala", "on the left", NAMES, text="Lala is in the photo, on the left."),
        Reply("present", "Lala", others=NAMES, text="Yes, Lala is in the photo, on the left."),
        Reply("absent", "Pia", others=NAMES, text="No, I don't see Pia in this photo."),
        Reply("told", truth="thunder", others=("spiders",), text="Lala is afraid of thunder."),
        Reply("untold", others=("chess",), text="I don't know."),
    ]
    return Notes(replies, [Sighting("Lala", "Lala"), Sighting("Nino", "Nino")])


def test_every_kind_of_reply_that_is_right_or_wrong(notes: Notes) -> None:
    assert [right(reply) for reply in notes.of("where", "present", "absent", "told", "untold")] == [True] * 5


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("Lala is on the left and Nino is at the top right, on the beach.", [True, True, True]),
        ("Nino is at the top right and Lala is on the right, in the snow.", [True, False, False]),
        ("Lala (on the left), Nino (at the top) are here.", [True, False]),
        ("Pia is on the left, on the beach in the snow.", [False, True]),
        ("Lala and Nino play.", []),
        ("A dog in the snow.", [False]),
    ],
)
def test_what_captions_tell_beside_names(text: str, true: list[bool]) -> None:
    places = "on the left", "at the top right", "beach"
    told = claims(Reply("caption", others=NAMES, present=("Lala", "Nino"), places=places, text=text))
    assert sorted(told) == sorted(true)


def test_who_is_nearest() -> None:
    """By the region that fits the box best, accepted or not."""
    seen = _scene({(10, 10, 60, 60): "Lala", (100, 10, 160, 60): "Nino", (12, 12, 80, 90): "Pia"})
    assert nearest(seen, (12, 10, 62, 58)) == "Lala"
    assert nearest(seen, (100, 12, 158, 60)) == "Nino"
    assert nearest(seen, (130, 10, 200, 120)) == ""  # no region fits
    assert nearest(_scene({}), (10, 10, 60, 60)) == ""
    assert nearest(_scene({(10, 10, 60, 60): ""}), (10, 10, 60, 60)) == ""


def _scene(boxes: dict[Box, str]) -> Scene:
    n = len(boxes)
    regions = Regions(np.array(list(boxes), np.float32).reshape(n, 4), np.ones(n, np.float32), ("dog",) * n)
    matches = tuple((Match(name, 1, 1, 0.5, 0.1, 0.0, "unknown"),) if name else () for name in boxes.values())
    photo = Photo(np.zeros((200, 200, 3), np.uint8), "", "")
    return Scene(photo, "tiny", regions, np.zeros((n + 1, 4), np.float32), matches, (), {})


def test_half_of_the_absent_have_a_look_alike_there() -> None:
    album = draw_album(1)
    doubles = asked = 0
    for row, query in enumerate(album.queries):
        names = list(absent(query, album.names, row))
        assert not set(names) & set(query.present)
        assert set(query.doubles) <= set(names)
        doubles, asked = doubles + len(query.doubles), asked + len(names)
    assert asked == 2 * doubles >= 40


def test_medians_of_stage_times() -> None:
    assert medians({"detect": [3.0, 100.0, 5.0], "embed": [1.0, 2.0]}) == {"detect": 5.0, "embed": 1.5}


@pytest.fixture(scope="module")
def album() -> Album:
    """The one of the whole bench below."""
    return draw_album(5, Recipe(scenes=6))


@pytest.mark.llm
def test_the_whole_bench(kinsight: Terminal, album: Album) -> None:
    pytest.importorskip("llama_cpp", exc_type=ImportError)
    said = kinsight("bench", "pocket", "--seed", "5", "--scenes", "6", "--check")
    assert said.out, said.err
    result = json.loads(said.out.splitlines()[-1])
    assert list(result)[:4] == ["format", "bench", "bundle", "seed"]
    assert [result[key] for key in ("format", "bench", "bundle", "seed")] == [1, "pocket", "tiny", 5]
    assert all(0 <= result[key] <= 1 for key in (*FIGURES, "in_plain_words"))
    appearances = sum(len(query.present) for query in album.queries)
    doubles = sum(len(query.doubles) for query in album.queries)
    counts = result["counts"]
    assert counts["concepts"] == 20 and counts["pictures"] == 6
    assert counts["appearances"] == counts["asked_present"] == appearances
    assert counts["asked_absent"] == 2 * doubles
    assert counts["answers"] == 2 * 6 + 2 * appearances + 2 * doubles + 40 + 20
    assert (counts["asked_told"], counts["asked_untold"]) == (40, 20)
    assert set(result["look_ms"]) == {"decode", "detect", "embed", "recall"}
    assert "first_token" in result["answer_ms"] and result["seconds"] > 0
    assert result["text_qa"] == 1.0  # the sentence that was told, in plain words, as the model talks nonsense
    assert result["in_plain_words"] > 0.5
    assert f"{result['recall_at_1']:.1%}" in said.out.splitlines()[0]
    assert "drawn scenes" not in said.err
    assert said.code and missed(result)
    assert f"these miss their line: {', '.join(missed(result))}" in said.err
    assert not (kinsight.home / "store.db").exists()
