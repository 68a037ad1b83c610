"""Answers that get round a simple check: double denials, pronouns, nobody, a question without a photo."""

from __future__ import annotations

import pytest

from kinsight.prompt import Asked, Facts, Seen, fault, read, told_about, unseen_words, whole_sentences
from kinsight.prompt.question import Kind
from kinsight.types import Concept

LALA = Concept(1, "Lala", info="Lala loves carrots. She is afraid of thunder.")
BRUNO = Concept(2, "Bruno", category="cat", info="Bruno sleeps on the sofa.")
HERE = Facts((Seen(LALA, "on the left", "dog"),), (), ())
NOBODY = Facts((), (), ())


@pytest.mark.parametrize(
    ("kind", "asked", "answer", "good"),
    [
        ("presence", BRUNO, "No doubt, Bruno is in the photo.", False),
        ("presence", BRUNO, "Bruno is not alone, he is in the photo.", False),
        ("presence", BRUNO, "No, Bruno is in the photo.", False),
        ("presence", BRUNO, "I don't know why Bruno is in the photo.", False),
        ("presence", BRUNO, "No, Bruno is not in the photo.", True),
        ("presence", BRUNO, "I don't see Bruno in this photo.", True),
        ("presence", BRUNO, "Bruno isn't visible here.", True),
        ("presence", BRUNO, "I cannot find Bruno in the picture.", True),
        ("presence", BRUNO, "There is no sign of Bruno.", True),
        ("presence", LALA, "Lala is gone from the photo.", False),
        ("presence", LALA, "Lala is missing.", False),
        ("presence", LALA, "Yes, Lala is here.", True),
        ("where", LALA, "Lala is in the photo. She is on the right.", False),
        ("where", LALA, "Lala is in the photo. She is on the left.", True),
        ("where", LALA, "Lala is on the left. She is not there.", False),
        ("other", LALA, "Nobody is in the photo.", False),
        ("other", LALA, "The photo is empty.", False),
        ("other", LALA, "Lala is not in the photo.", False),
        ("other", LALA, "Lala looks happy in the photo.", True),
        ("other", BRUNO, "Bruno sleeps in the photo.", False),
    ],
)
def test_what_a_sentence_claims_is_held_to_the_facts(
    kind: Kind, asked: Concept, answer: str, good: bool
) -> None:
    assert (fault(answer, HERE, Asked(kind, (asked,)), []) == "") is good


def test_an_empty_photo_may_be_called_so() -> None:
    assert fault("Nobody is in the photo.", NOBODY, Asked("other", ()), []) == ""


@pytest.mark.parametrize(
    "question",
    [
        "Is nobody in the photo?",
        "Is everyone here?",
        "Is there no one?",
        "Is the photo empty?",
        "How many people?",
    ],
)
def test_questions_about_nobody_and_everybody_are_for_recall(question: str) -> None:
    assert read(question, [LALA, BRUNO]).kind == "who"


def test_a_question_without_a_name_finds_whose_info_it_is_about() -> None:
    assert told_about("Who loves carrots?", [LALA, BRUNO]) == (LALA,)
    assert told_about("Who is afraid of water?", [LALA, BRUNO]) == (LALA,)
    assert told_about("What is the capital of France?", [LALA, BRUNO]) == ()


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Where is Lala?", "I cannot tell without a photo."),
        ("Is Bruno in the photo?", "I cannot tell without a photo."),
        ("What is Lala afraid of?", "Lala: She is afraid of thunder."),
    ],
)
def test_without_a_photo_nobody_is_anywhere(question: str, words: str) -> None:
    assert unseen_words(question, read(question, [LALA, BRUNO])) == words


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Lala is", ""),
        ("Lala is 3.", ""),
        ("Lala is 3. She", "Lala is 3."),
        ("One!\nTwo? Thr", "One!\nTwo?"),
        ("猫。\n犬", "猫。\n"),
    ],
)
def test_only_whole_sentences_are_given_out(text: str, whole: str) -> None:
    assert whole_sentences(text) == whole


def test_a_name_within_a_longer_one_is_somebody_else() -> None:
    """ "Big Ben" says nothing of Ben: a denial of the one is none of the other."""
    ben, big_ben = Concept(1, "Ben"), Concept(2, "Big Ben")
    facts = Facts((Seen(ben, "on the left", "dog"),), (), ())
    asked = Asked("presence", (big_ben,))
    assert fault("No, I don't see Big Ben in this photo.", facts, asked, ()) == ""
    assert fault("Big Ben is in the photo.", facts, asked, ()) == "it does not deny Big Ben"
    assert fault("Big Ben is on the left.", facts, Asked("who", ()), ("Big Ben",)) == "it names Big Ben"
