"""Whether an answer keeps to the facts: nobody named who is not there, nobody denied who is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kinsight.metrics import find_names, names_mentioned
from kinsight.prompt.facts import Facts
from kinsight.prompt.question import Asked
from kinsight.prompt.say import FUNCTION_WORDS, best_sentence, stems, words
from kinsight.types import Concept

_DENIES = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|without|absent|unknown|unable|cannot|can't|\w+n['’]t)\b", re.I
)
_DOUBTS = re.compile(
    r"\b(?:maybe|may|might|perhaps|possibly|probably|unsure|could|not (?:sure|certain))\b", re.I
)
_PLACES = ("left", "right", "top", "bottom", "middle")
_PLACE_SYNONYMS = {"centre": "middle", "center": "middle", "upper": "top", "above": "top", "lower": "bottom"}
_PHOTO_WORDS = """
image know photo picture see seen shown shows sure thing visible yes located position side maybe perhaps
there's it's that's he's she's don't isn't aren't doesn't can't cannot
"""
_ALLOWED = FUNCTION_WORDS | frozenset(_PHOTO_WORDS.split())


def allowed_names(facts: Facts | None, asked: Asked) -> set[str]:
    """The names and aliases that an answer may use: of the accepted, and of those asked about."""
    seen = [] if facts is None else [one.concept for one in facts.accepted]
    return {name for concept in (*seen, *asked.concepts) for name in concept.names}


def forbidden_names(concepts: Sequence[Concept], facts: Facts | None, asked: Asked) -> list[str]:
    """The names and aliases that an answer must not use.

    Without a photo nobody is named as present, so a name that stands in the info of one asked about is free.
    """
    free = allowed_names(facts, asked)
    names = [name for concept in concepts for name in concept.names if name not in free]
    if facts is None:
        told = " ".join(concept.info for concept in asked.concepts)
        names = [name for name in names if not find_names(told, [name])]
    return names


def fault(answer: str, facts: Facts, asked: Asked, forbidden: Sequence[str]) -> str:
    """What is wrong with an answer about a photo, in words; "" where nothing is."""
    if not answer.strip():
        return "it is empty"
    wrong = names_mentioned(answer, forbidden)
    if wrong:
        return f"it names {', '.join(sorted(wrong))}"
    if asked.kind == "other":
        return ""
    if asked.kind == "who" or not asked.concepts:
        return _fault_of_who(answer, facts)
    return next(
        (what for concept in asked.concepts if (what := _fault_of(answer, concept, facts, asked))), ""
    )


def made_up(answer: str, told: str) -> list[str]:
    """The words of an answer that are neither in what the model was told nor mere function words.

    For models that do not see the picture: whatever they add they cannot know.
    """
    known = set(words(told))
    return [word for word in words(answer) if word not in known and word not in _ALLOWED]


def unused(answer: str, question: str, concepts: Sequence[Concept]) -> list[str]:
    """The concepts of whose info an answer uses nothing, though the info has something to say."""
    said = stems(answer)
    new = {concept.name: stems(best_sentence(question, concept)) - stems(question) for concept in concepts}
    return [name for name, told in new.items() if told and not told & said]


def denies(text: str) -> bool:
    """Whether a text says no anywhere."""
    return bool(_DENIES.search(text))


def _fault_of_who(answer: str, facts: Facts) -> str:
    for seen in facts.accepted:
        if not names_mentioned(answer, seen.concept.names):
            return f"it leaves out {seen.concept.name}"
    if facts.accepted and denies(answer):
        return "it denies"
    if not facts.accepted and not denies(answer):
        return "it does not say that nobody is known"
    return _wrong_place(answer, [seen.position for seen in facts.accepted])


def _fault_of(answer: str, concept: Concept, facts: Facts, asked: Asked) -> str:
    if not names_mentioned(answer, concept.names):
        return f"it does not name {concept.name}"
    accepted = next((seen for seen in facts.accepted if seen.concept.id == concept.id), None)
    if accepted:
        if denies(answer) or _DOUBTS.search(answer):
            return f"it denies or doubts {concept.name}"
        missing = asked.kind == "where" and _places(accepted.position) - _places(answer)
        return (
            f"it does not say where {concept.name} is"
            if missing
            else _wrong_place(answer, [accepted.position])
        )
    if any(seen.concept.id == concept.id for seen in facts.unsure):
        return "" if _DOUBTS.search(answer) else f"it is too sure of {concept.name}"
    return "" if denies(answer) and not _DOUBTS.search(answer) else f"it does not deny {concept.name}"


def _wrong_place(answer: str, positions: Sequence[str]) -> str:
    right = set().union(*(_places(position) for position in positions))
    return "it says another place" if _places(answer) - right else ""


def _places(text: str) -> set[str]:
    found = {_PLACE_SYNONYMS.get(word, word) for word in words(text)}
    return found & set(_PLACES)
