"""Puts facts, references and question into the turns of a model, and holds its answer to the facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kinsight.llm import Picture, Text, Turn
from kinsight.prompt.check import denies, fault, forbidden_names, free_names, made_up, misspelled, unused
from kinsight.prompt.facts import Facts, Seen, a_thing, facts_of, notable, place, position, share, wrong_names
from kinsight.prompt.question import Asked, means_someone, read
from kinsight.prompt.respell import garbled, respelt
from kinsight.prompt.say import (
    NOTHING_TOLD,
    facts_words,
    fitting_sentence,
    joined,
    scene_words,
    told_about,
    told_words,
    unseen_words,
    whole_sentences,
)
from kinsight.types import Concept, Pixels

__all__ = [
    "NOTHING_TOLD",
    "Asked",
    "Facts",
    "Reference",
    "Seen",
    "a_thing",
    "asking",
    "denies",
    "facts_of",
    "facts_words",
    "fault",
    "fitting_sentence",
    "forbidden_names",
    "free_names",
    "garbled",
    "joined",
    "made_up",
    "means_someone",
    "misspelled",
    "notable",
    "opening",
    "place",
    "position",
    "read",
    "respelt",
    "scene_words",
    "share",
    "told",
    "told_about",
    "told_words",
    "turns",
    "unseen_words",
    "unused",
    "whole_sentences",
    "wrong_names",
]

SYSTEM = (
    "Answer the question in one short sentence, in the words of the facts and notes. "
    "If they do not tell, say that you do not know."
)
CAPTION = "Describe this photo in one sentence."

Parts = tuple[Text | Picture, ...]


@dataclass(frozen=True, eq=False)
class Reference:
    """A concept in the prompt: RAP's "picture, name, info" (arXiv 2410.13360, section 3.2)."""

    number: int  # in the list, from 1
    concept: Concept
    picture: Pixels | None = None  # uint8 (h, w, 3), RGB; None where the model sees no references


def opening(photo: Pixels | None, references: Sequence[Reference]) -> Parts:
    """What all questions about a photo have in common, so that it is read once: photo, then references.

    Every text that a user wrote is a part of its own, so nothing in it can act as a template or a picture.
    """
    parts: list[Text | Picture] = []
    if photo is not None:
        parts += [Text("Photo: "), Picture(photo), Text("\n")]
    parts += _listed(references)
    if parts and isinstance(last := parts[-1], Text):
        parts[-1] = replace(last, kept=True)
    return tuple(parts)


def asking(question: str, references: Sequence[Reference], facts: str) -> Parts:
    """One question: the references that only it names, the facts, the question itself."""
    parts = _listed(references)
    if facts:
        parts += [Text("Facts: "), Text(facts), Text("\n")]
    return (*parts, Text("Question: "), Text(question))


def turns(opened: Parts, history: Sequence[tuple[Parts, str]], question: Parts) -> list[Turn]:
    """System, then the opening with the first question still remembered, its answer, and so on."""
    asked = [*(parts for parts, _ in history), question]
    answers = [answer for _, answer in history]
    out = [Turn("system", (Text(SYSTEM),)), Turn("user", (*opened, *asked[0]))]
    for answer, parts in zip(answers, asked[1:], strict=True):
        out += [Turn("assistant", (Text(answer),)), Turn("user", parts)]
    return out


def told(listed: Sequence[Concept], facts: str, question: str) -> str:
    """Everything that the model was told in words, to hold its answer against."""
    records = [" ".join((*concept.names, concept.category, concept.info)) for concept in listed]
    return "\n".join([question, facts, *records])


def _listed(references: Sequence[Reference]) -> list[Text | Picture]:
    """RAP's numbered list."""
    parts: list[Text | Picture] = []
    for reference in references:
        parts.append(Text(f"Note {reference.number}. "))
        if reference.picture is not None:
            parts += [Picture(reference.picture), Text(" ")]
        parts += [Text("Name: "), Text(reference.concept.name), Text("\n")]
        if reference.concept.info.strip():
            parts += [Text("Info: "), Text(reference.concept.info.strip()), Text("\n")]
    return parts
