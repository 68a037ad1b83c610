"""The facts in plain words: what every model is told, and the answer where a model cannot phrase them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kinsight.metrics import find_names
from kinsight.prompt.facts import Facts, Seen, a_thing, without_names
from kinsight.prompt.question import Asked
from kinsight.types import Concept

NOTHING_TOLD = "I don't know: nothing that I was told is about this."
_MAX_OTHERS = 3
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")


def scene_words(question: str, facts: Facts, asked: Asked, known_names: Sequence[str]) -> str:
    """The plain answer to a question about a photo; `known_names` are all names and aliases in the store."""
    if not asked.concepts:
        return who_is_there(facts, known_names)
    yes_no = asked.kind == "presence"
    sentences = [presence(concept, facts, known_names, yes_no) for concept in asked.concepts]
    if asked.kind in ("other", "who"):
        sentences += [told_words(question, [concept]) for concept in asked.concepts if concept.info.strip()]
    return " ".join(sentences)


def facts_words(facts: Facts, asked: Asked, known_names: Sequence[str]) -> str:
    """What the model is told about a photo: who is there, and of each one asked about whether it is there."""
    accepted = {seen.concept.id for seen in facts.accepted}
    absent = [concept for concept in asked.concepts if concept.id not in accepted]
    sentences = [presence(concept, facts, known_names) for concept in absent]
    return " ".join([who_is_there(facts, known_names), *sentences])


def who_is_there(facts: Facts, known_names: Sequence[str]) -> str:
    """Everybody who was recognised, that somebody may be there, and what else there is."""
    sentences = []
    if facts.accepted:
        sentences.append(
            f"{_listed([_with_place(seen) for seen in facts.accepted])} {_be(facts.accepted)} in the photo."
        )
    else:
        sentences.append("I don't know anyone in this photo.")
    if facts.unsure:
        things = [_unnamed(seen, known_names) for seen in facts.unsure]
        sentences.append(f"I may know {_listed(things)}, but I am not sure.")
    others = without_names(facts.others, known_names)[:_MAX_OTHERS]
    if others:
        sentences.append(
            f"There is also {_listed(others)}."
            if facts.accepted or facts.unsure
            else f"I see {_listed(others)}."
        )
    return " ".join(sentences)


def presence(concept: Concept, facts: Facts, known_names: Sequence[str], yes_no: bool = False) -> str:
    """Whether and where one concept is in the photo; `yes_no` begins with Yes or No."""
    for seen in facts.accepted:
        if seen.concept.id == concept.id:
            where = f", {seen.position}" if seen.position else ""
            return f"{'Yes, ' if yes_no else ''}{concept.name} is in the photo{where}."
    for seen in facts.unsure:
        if seen.concept.id == concept.id:
            thing = _unnamed(seen, known_names) if seen.position else "something in the photo"
            return f"I am not sure: {thing} may be {concept.name}."
    return f"{'No, ' if yes_no else ''}I don't see {concept.name} in this photo."


def told_words(question: str, concepts: Sequence[Concept]) -> str:
    """The plain answer to a question without a photo: of every concept the sentence that fits best."""
    told = []
    for concept in concepts:
        sentence = best_sentence(question, concept)
        told.append(
            f"{concept.name}: {sentence}" if sentence else f"I was told nothing about {concept.name} yet."
        )
    return "\n".join(told) if told else NOTHING_TOLD


def best_sentence(question: str, concept: Concept) -> str:
    """The sentence of a concept's info closest to the question by shared words; all of it where none is."""
    sentences = [sentence.strip() for sentence in _SENTENCE.split(concept.info.strip()) if sentence.strip()]
    wanted = stems(_without(question, concept))
    shared = [len(wanted & stems(_without(sentence, concept))) for sentence in sentences]
    if not shared or max(shared) == 0:
        return " ".join(sentences)
    return sentences[shared.index(max(shared))]


def stems(text: str) -> set[str]:
    """The words of a text that carry meaning, cut to their first five letters ("walking" ~ "walks")."""
    return {word[:5].rstrip("s") for word in words(text) if word not in FUNCTION_WORDS}


def words(text: str) -> list[str]:
    """The words of a text, case-folded, possessives cut."""
    return [re.sub(r"['’]s?$", "", word) for word in re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())]


_FUNCTION_WORDS = """
a about after all also am an and any are as at be because been being both but by can could did do does doing
for from had has have he her here hers him his how i if in into is it its itself just like may me might mine my
name named names no nor not now of off on one only or other our out over own please she should so some tell than
that the their them then there these they this those to too under up us very was we were what when where which
while who whom whose why will with would yes you your yours
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


def _without(text: str, concept: Concept) -> str:
    for _, start, end in reversed(find_names(text, concept.names)):
        text = text[:start] + text[end:]
    return text


def _with_place(seen: Seen) -> str:
    return f"{seen.concept.name} ({seen.position})" if seen.position else seen.concept.name


def _unnamed(seen: Seen, known_names: Sequence[str]) -> str:
    thing = a_thing(seen.label).replace("an ", "the ", 1).replace("a ", "the ", 1) if seen.label else ""
    if not thing or not without_names([thing], known_names):
        thing = "something"
    return f"{thing} {seen.position}".rstrip()


def _be(seen: Sequence[Seen]) -> str:
    return "is" if len(seen) == 1 else "are"


def _listed(things: Sequence[str]) -> str:
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
