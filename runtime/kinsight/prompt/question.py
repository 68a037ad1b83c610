"""What a question is after: who, where, whether somebody is there, or something else, and about whom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kinsight.metrics import find_names
from kinsight.types import Concept

Kind = Literal["who", "where", "presence", "other"]

_PRONOUNS = {"she", "he", "her", "hers", "him", "his"}
_NAME = "\u0001"
_IN = r"(?: (?:in|on|at|of) (?:the|this|that|my|it)\b.*)?"
_THERE = rf"(?: (?:also|really|now|here|there|exactly|shown|visible|present|located))*{_IN}"
_PATTERNS: tuple[tuple[Kind, str], ...] = (
    ("other", rf"who(?:'s|’s| is| are| was) {_NAME}"),
    ("where", rf"(?:where(?:'s|’s| is| are)?|where (?:do|can) you see) (?:the )?{_NAME}{_THERE}"),
    ("where", rf"(?:on )?(?:which|what) side is {_NAME}{_THERE}"),
    ("where", rf"(?:locate|find|show me|tell me where) {_NAME}(?: is)?{_THERE}"),
    (
        "who",
        r"who(?:m|'s|’s| else)?\b(?: (?:is|are|else|can|do|you|i|we|see|there|here|that|this|it))*" + _IN,
    ),
    ("who", r"who (?:is|are) (?:that|this|the|these|those) \w+" + _IN),
    ("who", r"(?:which|what) (?:people|persons?|pets?|names?|concepts?)\b.*"),
    ("who", r"(?:do|can) you (?:know|recogni[sz]e|see) (?:any|some)(?:one|body)\b.*"),
    ("who", r"is (?:there )?any(?:one|body)\b.*"),
    ("who", r"(?:name|list) (?:everyone|everybody|all)\b.*"),
    ("presence", rf"(?:is|are) (?:(?:that|this|it|there) )?{_NAME}{_THERE}"),
    ("presence", rf"(?:do|can|could) you (?:see|spot|find|recogni[sz]e) {_NAME}{_THERE}"),
    ("presence", rf"does (?:this|the|that|it) ?.*\b(?:show|contain|have|include) {_NAME}{_THERE}"),
    ("presence", _NAME),
    ("where", rf"where(?:'s|’s| is) (?:she|he){_THERE}"),
)


@dataclass(frozen=True)
class Asked:
    """What a question is after."""

    kind: Kind
    concepts: tuple[Concept, ...]  # that it names, in reading order


def read(question: str, concepts: Sequence[Concept]) -> Asked:
    """Reads a question (English; any other language is of kind "other", names are found in all)."""
    owners = {name: concept for concept in concepts for name in concept.names}
    hits = find_names(question, owners)
    named = tuple(dict.fromkeys(owners[name] for name, _, _ in hits))
    bare = question
    for _, start, end in reversed(hits):
        bare = bare[:start] + _NAME + bare[end:]
    bare = re.sub(rf"{_NAME}(?:\s*(?:,|and|or|&)+\s*{_NAME})+", _NAME, " ".join(bare.split()))
    return Asked(_kind(bare), named)


def about(text: str, concepts: Sequence[Concept]) -> tuple[Concept, ...]:
    """The concepts that a text means without a name: those whose category it mentions ("my dog")."""
    by_category: dict[str, list[Concept]] = {}
    for concept in concepts:
        if concept.category.strip():
            by_category.setdefault(concept.category, []).append(concept)
    return tuple(
        concept
        for category in dict.fromkeys(name for name, _, _ in find_names(text, by_category))
        for concept in by_category[category]
    )


def means_someone(text: str) -> bool:
    """Whether a text points back at somebody by a pronoun: "where is she?"."""
    return bool(_PRONOUNS & set(re.findall(r"\w+", text.casefold())))


def _kind(bare: str) -> Kind:
    text = re.sub(r"^(?:and|so|but|please)\b,? *", "", bare.strip(" .!?").casefold())
    return next((kind for kind, pattern in _PATTERNS if re.fullmatch(pattern, text)), "other")
