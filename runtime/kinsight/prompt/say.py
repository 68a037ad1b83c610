"""The facts in plain words: what every model is told, and the answer where a model cannot phrase them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from kinsight.metrics import find_names
from kinsight.prompt.facts import Facts, Seen, without_names, wrong_names
from kinsight.prompt.question import Asked
from kinsight.types import Concept

NOTHING_TOLD = "I don't know: nothing that I was told is about this."
NO_PHOTO = "I cannot tell without a photo."
_MAX_OTHERS = 3
_MAX_ABOUT = 3
_SENTENCE_END = re.compile(r"[.!?。！？]+(?=\s)|\n")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")


def scene_words(question: str, facts: Facts, asked: Asked, known_names: Sequence[str]) -> str:
    """The plain answer to a question about a photo; `known_names` are all names and aliases in the store."""
    if not asked.concepts:
        return who_is_there(facts, known_names)
    present = [_of_one(concept, facts, asked, known_names) for concept in asked.concepts]
    if asked.kind != "other":
        return " ".join(present)
    seen = [one.concept for one in facts.accepted]
    free = [name for concept in (*seen, *asked.concepts) for name in concept.names]
    forbidden = [name for name in known_names if name not in free]
    telling = _telling(asked.concepts, free, forbidden)
    told = [_told(question, concept) for concept in telling if fitting_sentence(question, concept)]
    return " ".join([*told, *present])


def facts_words(facts: Facts, asked: Asked, known_names: Sequence[str]) -> str:
    """What the model is told about a photo: whether and where those asked about are, else who is there."""
    if asked.concepts:
        return " ".join(_of_one(concept, facts, asked, known_names) for concept in asked.concepts)
    return who_is_there(facts, known_names)


def who_is_there(facts: Facts, known_names: Sequence[str]) -> str:
    """Everybody who was recognised, that somebody may be there, and what else there is."""
    sentences = []
    if len(facts.accepted) == 1:
        sentences.append(presence(facts.accepted[0].concept, facts, known_names))
    elif facts.accepted:
        sentences.append(f"{joined([_with_place(seen) for seen in facts.accepted])} are in the photo.")
    else:
        sentences.append("I don't know anyone in this photo.")
    if facts.unsure:
        things = [_unnamed(seen, known_names) for seen in facts.unsure]
        sentences.append(f"I may know {joined(things)}, but I am not sure.")
    others = without_names(facts.others, known_names)[:_MAX_OTHERS]
    if others:
        sentences.append(
            f"There is also {joined(others)}."
            if facts.accepted or facts.unsure
            else f"I see {joined(others)}."
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


def _of_one(concept: Concept, facts: Facts, asked: Asked, known_names: Sequence[str]) -> str:
    """Who is beside a concept, where that is asked and it is there; else whether and where it is."""
    if asked.kind == "beside":
        for seen in facts.accepted:
            if seen.concept.id == concept.id:
                return _beside(seen, known_names)
    return presence(concept, facts, known_names, asked.kind == "presence")


def _beside(seen: Seen, known_names: Sequence[str]) -> str:
    """Whom or what is nearest to somebody, in a sentence that denies nothing: see `check.fault`."""
    name = seen.concept.name
    if not seen.position:
        return f"{name} is somewhere in the photo."
    if not seen.beside:
        return f"{name} is all that I see there."
    if isinstance(seen.beside, Concept):
        return f"{seen.beside.name} is next to {name}."
    thing = next(iter(without_names([seen.beside], known_names)), "something")
    return f"{thing[0].upper()}{thing[1:]} is next to {name}."


def told_words(question: str, concepts: Sequence[Concept]) -> str:
    """The plain answer to a question without a photo: of every concept the sentence that fits best."""
    return "\n".join(_told(question, concept) for concept in concepts) if concepts else NOTHING_TOLD


def unseen_words(question: str, asked: Asked, forbidden: Sequence[str] = ()) -> str:
    """The plain answer to a question without a photo; who is where, only a photo could tell.

    Where no sentence of an info fits, all of it is given but for the sentences that name somebody else.
    """
    told = any(fitting_sentence(question, concept) for concept in asked.concepts)
    if asked.kind in ("where", "presence") and not told:
        return NO_PHOTO
    free = [name for concept in asked.concepts for name in concept.names]
    return (
        "\n".join(
            told_words(question, [concept] if fitting_sentence(question, concept) else telling or [concept])
            for concept in asked.concepts
            for telling in [_telling([concept], free, forbidden)]
        )
        or NOTHING_TOLD
    )


def told_about(question: str, concepts: Sequence[Concept]) -> tuple[Concept, ...]:
    """Whom a question without names is about: those whose info shares most words with it, three at most."""
    wanted = stems(question)
    shared = {concept.id: len(wanted & stems(fitting_sentence(question, concept))) for concept in concepts}
    most = max(shared.values(), default=0)
    return tuple(concept for concept in concepts if most and shared[concept.id] == most)[:_MAX_ABOUT]


def fitting_sentence(question: str, concept: Concept) -> str:
    """The sentence of a concept's info that shares most words with the question; "" where none shares any."""
    wanted = stems(_without(question, concept))
    shared = {text: len(wanted & stems(_without(text, concept))) for text in _sentences(concept.info)}
    best = max(shared, key=lambda text: shared[text], default="")
    return best if shared.get(best) else ""


def best_sentence(question: str, concept: Concept) -> str:
    """The fitting sentence, all of the info where none fits."""
    return fitting_sentence(question, concept) or " ".join(_sentences(concept.info))


def whole_sentences(text: str) -> str:
    """The beginning of a text up to the end of its last whole sentence."""
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else ""


def stems(text: str) -> set[str]:
    """The words of a text that carry meaning, cut to their first five letters ("walking" ~ "walks")."""
    meant = [_IRREGULAR.get(word, word) for word in words(text) if word not in FUNCTION_WORDS]
    return {word[:5].rstrip("s") for word in meant}


def words(text: str) -> list[str]:
    """The words of a text, case-folded, possessives cut."""
    return [re.sub(r"['’]s?$", "", word) for word in re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())]


_FUNCTION_WORDS = """
a about after all also am an and any anything are as at be because been being both but by can could describe
did do does doing everything for from had has have he her here hers him his how i if in into is it its
itself just know may me might mine my name named names no nor not now of off on one only or other our out
over own please she should so some something tell than that the their them then there these they this those
to too under up us very was we were what when where which while who whom whose why will with would yes you
your yours
"""
_PHOTO_WORDS = """
image know photo picture see seen shown shows sure thing visible yes located position side maybe perhaps
there's it's that's he's she's don't isn't aren't doesn't can't cannot
"""
_PAST = """
ate eat bought buy came come found find gave give got get grew grow kept keep lost lose made make met meet
ran run said say saw see slept sleep told tell took take went go won win wrote write
"""
_IRREGULAR = dict(zip(_PAST.split()[::2], _PAST.split()[1::2], strict=True))
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
ALLOWED = FUNCTION_WORDS | frozenset(_PHOTO_WORDS.split())
"""What an answer may hold beside what was told."""


def _sentences(info: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE.split(info) if sentence.strip()]


def _telling(concepts: Sequence[Concept], free: Sequence[str], forbidden: Sequence[str]) -> list[Concept]:
    """The concepts whose info has something to tell, without the sentences that name somebody forbidden."""
    infos = [
        "\n".join(text for text in _sentences(concept.info) if not wrong_names(text, free, forbidden))
        for concept in concepts
    ]
    return [replace(concept, info=info) for concept, info in zip(concepts, infos, strict=True) if info]


def _told(question: str, concept: Concept) -> str:
    sentence = best_sentence(question, concept)
    if not sentence:
        return f"I was told nothing about {concept.name} yet."
    if stems(_without(question, concept)) and not fitting_sentence(question, concept):
        return f"That I was not told. What I know of {concept.name}: {sentence}"
    return sentence if find_names(sentence, concept.names) else f"{concept.name}: {sentence}"


def _without(text: str, concept: Concept) -> str:
    for _, start, end in reversed(find_names(text, concept.names)):
        text = text[:start] + text[end:]
    return text


def _with_place(seen: Seen) -> str:
    return f"{seen.concept.name} ({seen.position})" if seen.position else seen.concept.name


def _unnamed(seen: Seen, known_names: Sequence[str]) -> str:
    thing = f"the {seen.label}" if seen.label else ""
    if not thing or not without_names([thing], known_names):
        thing = "something"
    return f"{thing} {seen.position}".rstrip()


def joined(things: Sequence[str]) -> str:
    """ "A", "A and B", "A, B and C"."""
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
