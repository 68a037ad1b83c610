"""Whether an answer keeps to the facts: nobody named who is not there, nobody denied who is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kinsight.metrics import Begun, find_names, names_begun, names_mentioned, names_misspelt
from kinsight.prompt.facts import Facts, a_thing, wrong_names
from kinsight.prompt.question import Asked
from kinsight.prompt.say import ALLOWED, best_sentence, fitting_sentence, joined, stems, words
from kinsight.types import Concept

_DENIES = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|nowhere|without|absent|missing|gone|away|elsewhere|unknown|unable"
    r"|cannot|can't|\w+n['’]t)\b",
    re.I,
)
_HERE = r"(?:in|on|at|here|there|seen|visible|present|shown)\b"
_NOT_HERE = re.compile(
    rf"^\W*no\b(?! (?:doubt|question|wonder))|\bno sign of\b|\bnot {_HERE}"
    rf"|(?:n['’]t|\bnot|\bcannot) (?:\w+ )?(?:see|find|spot|recogni[sz]e|know|{_HERE})",
    re.I,
)
_IS_HERE = re.compile(rf"\b(?:is|are|'s|’s) (?:(?!not\b)\w+ ){{0,2}}{_HERE}", re.I)
_PLACE = re.compile(r"(?:at|on|in) the (?:(?:top|bottom)(?: left| right)?|left|right|middle)$")
_THING_PLACED = re.compile(rf"\ban? ([\w -]{{1,40}}?) ({_PLACE.pattern[:-1]})\b")
_NOBODY = re.compile(r"\b(?:nobody|no one|no-one|noone|empty)\b", re.I)
_PRONOUN = re.compile(r"\b(?:she|he|it|they)\b", re.I)
_DOUBTS = re.compile(
    r"\b(?:maybe|may|might|perhaps|possibly|probably|unsure|could|not (?:sure|certain))\b", re.I
)
_CLAIMS = re.compile(r"(?<=[.!?;。！？])\s*|\n+|\bbut\b")
_OF_THE_PHOTO = re.compile(r"\b(?:photo|picture|image|here|there|see|seen|visible|present)\b", re.I)
_PLACES = ("left", "right", "top", "bottom", "middle")
_PLACE_SYNONYMS = {"centre": "middle", "center": "middle", "upper": "top", "above": "top", "lower": "bottom"}
_OPENING = re.compile(r"(?:^|[.!?;:。！？]\s*|\n)\W*(\w+)")
_TELLING = 4  # letters of a name
_BEGUN = 0.5  # of a name that was withheld
_VOWELS = "aeiouyаеёиоуыэюяіїєαεηιουωάέήίόύώ"
_INFLECTED = re.compile(rf".e?s|[^\Wa-z\d_{_VOWELS}]\w{{1,2}}", re.I)


def free_names(
    concepts: Sequence[Concept], facts: Facts | None, asked: Asked, question: str = ""
) -> list[str]:
    """The names and aliases that an answer may use: of the accepted, and of those asked about.

    Without a photo nobody is named as present, so a name that stands in the sentence of an info that the
    question leads to is free too.
    """
    seen = [] if facts is None else [one.concept for one in facts.accepted]
    told = "" if facts is not None else "\n".join(fitting_sentence(question, c) for c in asked.concepts)
    mentioned = names_mentioned(told, [name for concept in concepts for name in concept.names])
    return list(
        dict.fromkeys([*(n for concept in (*seen, *asked.concepts) for n in concept.names), *mentioned])
    )


def forbidden_names(
    concepts: Sequence[Concept], facts: Facts | None, asked: Asked, question: str = ""
) -> list[str]:
    """The names and aliases that an answer must not use: all others."""
    free = free_names(concepts, facts, asked, question)
    return [name for concept in concepts for name in concept.names if name not in free]


def fault(answer: str, facts: Facts, asked: Asked, forbidden: Sequence[str]) -> str:
    """What is wrong with an answer about a photo, in words; "" where nothing is.

    Sentence by sentence, what it says of each concept is held against what recall decided. In answers to
    other questions than who, where and whether, only the sentences that speak of the photo count.
    """
    if not answer.strip():
        return "it is empty"
    if wrong := wrong_names(answer, free_names((), facts, asked), forbidden):
        return f"it names {', '.join(sorted(wrong))}"
    everything = asked.kind != "other"
    claims = [claim for claim in _CLAIMS.split(answer) if everything or _OF_THE_PHOTO.search(claim)]
    seen = [one.concept for one in (*facts.accepted, *facts.unsure)]
    concepts = list({concept.id: concept for concept in (*seen, *asked.concepts)}.values())
    meant: list[Concept] = []
    for claim in claims:
        named = _named_in(claim, concepts)
        meant = named or (meant if _PRONOUN.search(claim) else [])
        for concept in meant:
            if what := _wrong_claim(claim, concept, facts):
                return what
        if facts.accepted and _NOBODY.search(claim):
            return "it says that nobody is there"
    return "" if asked.kind == "other" else _left_out(answer, facts, asked)


def made_up(answer: str, told: str) -> list[str]:
    """The words of an answer that are neither in what the model was told nor mere function words.

    For models that do not see the picture: whatever they add they cannot know.
    """
    known = set(words(told))
    return [word for word in words(answer) if word not in known and word not in ALLOWED]


def misspelled(
    answer: str, free: Sequence[str], forbidden: Sequence[str], told: str, withheld: Sequence[str]
) -> list[str]:
    """The words that stand for a known name and are none, nor told: "Cosimara" or "Cosina" for Cosima.

    A model that cannot spell a name has one letter wrong, or goes on otherwise at its end. One that may not
    say it goes on otherwise in the midst of it; `withheld` tells that this happened. A forbidden name that
    the model neither was told nor would have said is not what it means: "Carlos" is no Carl then.

    What is written small is an ordinary word. A free name may be inflected: by s or es; in other scripts than
    Latin by up to two letters after a consonant; its last letter may change. A forbidden one may not. A word
    that begins a sentence may be any ("Everyone" is no Eve) where the name is short.
    """
    known = {*words(told), *words(" ".join(free)), *ALLOWED}
    openings = set(_OPENING.findall(answer))
    meant = [*free, *sorted(names_mentioned(told, forbidden))]
    begun = [*names_begun(answer, meant), *names_begun(answer, withheld, _BEGUN)]
    found = [one.word for one in begun if not (_is_short_opening(one, openings) or _may_end_so(one, free))]
    found += [word for _, word in names_misspelt(answer, [*meant, *withheld])]
    return [word for word in dict.fromkeys(found) if not word[0].islower() and not set(words(word)) <= known]


def _is_short_opening(begun: Begun, openings: set[str]) -> bool:
    longer = len(begun.word) - len(begun.name) > 1
    return longer and len(begun.name) < _TELLING and begun.word in openings


def _may_end_so(begun: Begun, free: Sequence[str]) -> bool:
    """Whether a word is a free name with another ending."""
    inflected = begun.ending is None or _INFLECTED.fullmatch(begun.name[-1] + begun.ending)
    return bool(inflected) and begun.name in free


def unused(answer: str, question: str, concepts: Sequence[Concept]) -> list[str]:
    """The concepts of whose info an answer uses nothing, though the question leads to something there."""
    said = stems(answer)
    new = {concept.name: stems(best_sentence(question, concept)) - stems(question) for concept in concepts}
    return [name for name, told in new.items() if told and not told & said]


def denies(text: str) -> bool:
    """Whether a text says no anywhere."""
    return bool(_DENIES.search(text))


def _wrong_claim(claim: str, concept: Concept, facts: Facts) -> str:
    """What is wrong with a sentence that names a concept; "" where nothing is."""
    if any(seen.concept.id == concept.id for seen in facts.accepted):
        if denies(claim) or _DOUBTS.search(claim):
            return f"it denies or doubts {concept.name}"
        right = set().union(*(_places(s.position) for s in facts.accepted if s.concept.id == concept.id))
        said = _placed_at(claim, concept, [seen.concept for seen in facts.accepted])
        return f"it puts {concept.name} elsewhere" if said - right else ""
    if any(seen.concept.id == concept.id for seen in facts.unsure):
        return "" if _DOUBTS.search(claim) else f"it is too sure of {concept.name}"
    away = _NOT_HERE.search(claim) and not _IS_HERE.search(claim) and not _DOUBTS.search(claim)
    return "" if away else f"it does not deny {concept.name}"


def _placed_at(claim: str, concept: Concept, others: Sequence[Concept]) -> set[str]:
    """The places that a sentence gives a concept: those between it and the next name, or the next ones.

    "A and B on the left, C on the right"; or all of them before the names: "on the left A, on the right B".
    """
    found = find_names(claim, [name for each in others for name in each.names])
    starts, ends = [start for _, start, _ in found], [end for _, _, end in found]
    own = [row for row, (name, _, _) in enumerate(found) if name in concept.names]
    if not own:
        return _places(claim)
    before = bool(_places(claim[: starts[0]]))
    stretches = list(zip([0, *ends], [*starts, len(claim)], strict=True))  # around the names
    places = [_places(claim[start:end]) for start, end in (stretches if before else stretches[1:])]
    given = [next(filter(None, places[row::-1] if before else places[row:]), set[str]()) for row in own]
    return set().union(*given)


def _named_in(text: str, concepts: Sequence[Concept]) -> list[Concept]:
    """The concepts that a text names; "Ben" is not named by "Big Ben" where that is somebody else."""
    mentioned = names_mentioned(text, [name for concept in concepts for name in concept.names])
    return [concept for concept in concepts if mentioned & set(concept.names)]


def _left_out(answer: str, facts: Facts, asked: Asked) -> str:
    """What an answer about who, where or whether does not say; "" where it is all there."""
    due = asked.concepts or tuple(seen.concept for seen in facts.accepted)
    named = _named_in(answer, due)
    for concept in due:
        if concept not in named:
            return f"it leaves out {concept.name}"
    if not due and asked.kind != "caption" and not denies(answer):
        return "it does not say that nobody is known"
    for seen in facts.accepted:
        if (
            asked.kind == "where"
            and seen.concept in asked.concepts
            and _places(seen.position) - _places(answer)
        ):
            return f"it does not say where {seen.concept.name} is"
    if asked.kind == "beside":
        return _wrongly_beside(answer, facts, asked)
    return _other_things(answer, facts) if asked.kind == "who" or not due else ""


def _wrongly_beside(answer: str, facts: Facts, asked: Asked) -> str:
    """What an answer puts next to those asked about that is not, or leaves out that is; ""."""
    asked_for = [seen for seen in facts.accepted if seen.concept in asked.concepts]
    beside = [seen.beside for seen in asked_for]
    for concept in _named_in(answer, [seen.concept for seen in facts.accepted]):
        if concept not in asked.concepts and concept not in beside:
            return f"it puts {concept.name} next to {joined([seen.concept.name for seen in asked_for])}"
    for thing in beside:
        if isinstance(thing, Concept) and not _named_in(answer, [thing]):
            return f"it leaves out {thing.name}"
        if isinstance(thing, str) and not set(words(thing)[1:]) <= set(words(answer)):
            return f"it does not say that {thing} is there"
    return ""


def _other_things(answer: str, facts: Facts) -> str:
    """What an answer puts where the facts have something else, or have elsewhere, in their words; ""."""
    seen = [f"{a_thing(one.label)} {one.position}" for one in (*facts.accepted, *facts.unsure) if one.label]
    placed = [(thing, found[0]) for thing in (*facts.others, *seen) if (found := _PLACE.search(thing))]
    told = [(set(words(thing)[1:2]), place) for thing, place in placed]
    for said in _THING_PLACED.finditer(answer):
        meant = set(words(said[1]))
        known = [place for kind, place in told if kind <= meant]
        if said[2] in known:
            told.remove(next(one for one in told if one[0] <= meant and one[1] == said[2]))
        elif known or any(place == said[2] for _, place in placed):
            return f"it sees a {said[1]} {said[2]}"
    return ""


def _places(text: str) -> set[str]:
    found = {_PLACE_SYNONYMS.get(word, word) for word in words(text)}
    return found & set(_PLACES)
