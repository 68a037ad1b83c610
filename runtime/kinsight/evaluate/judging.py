"""Judges what was answered, caption and all, by what a drawn album knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kinsight.drawn import PLACES
from kinsight.metrics import find_names, names_mentioned
from kinsight.prompt import denies

_DOUBTS = re.compile(
    r"\b(?:not (?:sure|certain)|unsure|uncertain|maybe|may|might|perhaps|possibly|probably|could"
    r"|(?:don['’]t|do not|cannot|can['’]t) (?:know|tell|say))\b",
    re.I,
)
_PLACE = r"left|right|top|bottom|middle|cent(?:re|er)|upper|lower"
_PLACE_WORDS = re.compile(rf"\b(?:{_PLACE})\b", re.I)
_SHOWS = rf"here|there|visible|shown|(?:in|on|at) (?:the|this) (?:photo|picture|image|{_PLACE})"
_SEES = r"(?:see|find|spot|recogni[sz]e)"
_YES_OR_NO = re.compile(r"\W*(yes|no)\b(?! (?:doubt|question))", re.I)
_IS_THERE = re.compile(rf"\b(?:{_SHOWS})\b|\bI (?:can )?{_SEES}\b", re.I)
_IS_NOT_THERE = re.compile(rf"(?:n['’]t|\bnot|\bcannot|\bnever) (?:{_SEES}|{_SHOWS})\b|\bno sign of\b", re.I)
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")


Kind = Literal["who", "caption", "where", "present", "absent", "told", "untold"]
Verdict = Literal["yes", "no", ""]


@dataclass(frozen=True)
class Reply:
    """One answer beside what the album knows."""

    kind: Kind
    name: str = ""  # asked about
    truth: str = ""  # where: the position; told: the value
    others: tuple[str, ...] = ()  # told, untold: wrong values; of a picture: names of all concepts
    present: tuple[str, ...] = ()  # who, caption: the concepts that are in the picture
    places: tuple[str, ...] = ()  # caption: where these are, and then where the picture is
    text: str = ""
    plain: bool = False  # the model's own answer was refused


def right(reply: Reply) -> bool:
    """Whether an answer about where, whether or what was told is right; one that abstains is not."""
    judges: Mapping[Kind, Callable[[Reply], bool]] = {
        "where": lambda r: is_placed(r.text, r.name, r.truth, r.others),
        "present": lambda r: verdict(r.text, r.name, r.others) == "yes",
        "absent": lambda r: verdict(r.text, r.name, r.others) == "no",
        "told": lambda r: holds(r.text, r.truth, r.others),
        "untold": lambda r: abstains(r.text) and not has_words(r.text, r.others),
    }
    return judges[reply.kind](reply)


def verdict(text: str, name: str, names: Sequence[str]) -> Verdict:
    """What an answer says to "Is NAME in this photo?"; `names` are those of all concepts.

    "" where it doubts, contradicts itself, speaks of others only, asks back or says something else.
    """
    mentioned = names_mentioned(text, names)
    if _DOUBTS.search(text) or text.rstrip().endswith("?") or (mentioned and name not in mentioned):
        return ""
    begins = _YES_OR_NO.match(text)
    gone = bool(_IS_NOT_THERE.search(text))
    if begins and begins[1].casefold() == "yes":
        return "" if gone else "yes"
    if begins or (gone and mentioned):
        return "no"
    return "yes" if mentioned and _IS_THERE.search(text) and not denies(text) else ""


def is_placed(text: str, name: str, place: str, names: Sequence[str]) -> bool:
    """Whether an answer puts NAME at this place: with the words of its sides, all of them and no others.

    `names` are those of all concepts: where somebody else is said to be is no answer.
    """
    if _sides(text) != _sides(place) or denies(text) or _DOUBTS.search(text):
        return False
    placing = [words for words in _SENTENCE_END.split(text) if _PLACE_WORDS.search(words)]
    return all(names_mentioned(words, names) <= {name} and _speaks_of(words, name) for words in placing)


def claims(reply: Reply) -> list[bool]:
    """Whether what a caption tells beside names is true, one each: where somebody is, where the picture is.

    A position counts for the name before it; what it does not tell is no claim.
    """
    found = find_names(reply.text, reply.others)
    ends = [*(start for _, start, _ in found[1:]), len(reply.text)]
    where = dict(zip(reply.present, reply.places, strict=False))
    told = [
        sides == _sides(where[name])
        for (name, _, start), end in zip(found, ends, strict=False)
        if name in where and (sides := _sides(reply.text[start:end]))
    ]
    return told + [place == reply.places[-1] for place in PLACES if place in reply.text]


def holds(text: str, value: str, others: Sequence[str]) -> bool:
    """Whether an answer gives a value, and none of the others, without denial or doubt."""
    return has_words(text, [value]) and not (denies(text) or _DOUBTS.search(text) or has_words(text, others))


def abstains(text: str) -> bool:
    """Whether an answer says that it does not know."""
    return bool(
        re.search(
            r"\b(?:not told|told nothing|nothing that I was told|(?:don['’]t|do not) know)\b", text, re.I
        )
    )


def has_words(text: str, values: Sequence[str]) -> bool:
    """Whether the words of any of the values are in a text."""
    said = text.casefold()
    return any(re.search(rf"(?<!\w){re.escape(value.casefold())}(?!\w)", said) for value in values)


def _sides(text: str) -> set[str]:
    """The words for sides in a text."""
    return {word.casefold() for word in _PLACE_WORDS.findall(text)}


def _speaks_of(text: str, name: str) -> bool:
    """Whether it is NAME, or somebody meant by a pronoun, of whom an answer speaks."""
    return bool(names_mentioned(text, [name]) or re.match(r"\W*(?:she|he|it|on|at|in)\b", text, re.I))
