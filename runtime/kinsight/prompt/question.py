"""What a question is after: who, where, who is beside whom, whether somebody is there, or something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kinsight.metrics import find_names
from kinsight.types import Concept

Kind = Literal["who", "where", "beside", "presence", "caption", "other"]

_PRONOUNS = {"she", "he", "her", "hers", "him", "his"}
_NAME = "\u0001"
_WHOM = rf"(?:(?:(?:the|my|our|your) (?:\w+ )?)?{_NAME}|she|he|her|him)"
_PHOTO = r"(?:photo|photograph|picture|image|pic|shot|snapshot|frame|scene|view)"
_IN_PHOTO = rf"(?: (?:in|on|at|of) (?:it|here|(?:(?:the|this|that|my|our) )?(?:\w+ )?{_PHOTO}))?"
_THERE = rf"(?: (?:also|really|now|here|there|exactly|shown|visible|present|located|around|too))*{_IN_PHOTO}"
_SIDE = r"(?:left|right|top|bottom|middle|centre|center|upper|lower)"
_SOMEWHERE = rf"(?: (?:in|on|at|of|to) (?:the|this|that|my|it)\b[^{_NAME}]*)?"
_REST = rf"\b[^{_NAME}]*"
_STANDS = r"(?:(?:'s|’s)|(?: (?:is|are|stands|sits|lies|standing|sitting|lying|right|directly|just))+)"
_BESIDE = r"(?:next to|beside|near|nearest to|close to|closest to)"
_PATTERNS: tuple[tuple[Kind, str], ...] = (
    ("other", rf"who(?:'s|’s| is| are| was) {_WHOM}"),
    ("where", rf"where(?:'s|’s)?(?: exactly)?(?: is| are| do you see| can you see)? {_WHOM}{_THERE}"),
    ("where", rf"(?:on )?(?:which|what) side (?:is|are) {_WHOM}(?: on)?{_THERE}"),
    ("where", rf"(?:locate|find|show me) {_WHOM}{_THERE}"),
    ("where", rf"(?:(?:can|could) you )?(?:tell|show) me where {_WHOM}(?: is| are)?{_THERE}"),
    ("where", rf"do you (?:see|know) where {_WHOM} (?:is|are){_THERE}"),
    (
        "where",
        rf"(?:is|are) {_WHOM} (?:on|at|in|to) the {_SIDE}(?: (?:{_SIDE}|side|corner|half))*{_IN_PHOTO}",
    ),
    ("beside", rf"(?:who|what)(?: else)?{_STANDS} {_BESIDE} {_WHOM}{_THERE}"),
    (
        "who",
        r"who(?:m|'s|’s| else)?\b(?: (?:is|are|else|can|do|you|i|we|see|there|here|that|this|it))*"
        + _SOMEWHERE,
    ),
    ("who", rf"who(?:'s|’s| is| are| was| were| am){_REST}"),
    ("who", rf"(?:which|what) (?:people|persons?|pets?|names?|concepts?){_REST}"),
    ("who", rf"(?:do|can) you (?:know|recogni[sz]e|see) (?:any|some)(?:one|body){_REST}"),
    ("who", rf"(?:is|are) (?:there )?(?:any|some|every|no)[ -]?(?:one|body){_REST}"),
    ("who", rf"(?:is|are) there (?:(?:any|some|no) )?(?:people|persons?|pets?){_REST}"),
    ("who", rf"is (?:(?:the|this|that) {_PHOTO}|it) empty"),
    ("who", rf"how many (?:people|persons?|pets?){_REST}"),
    ("who", rf"(?:name|list) (?:everyone|everybody|all){_REST}"),
    ("presence", rf"(?:is|are)(?:n't|n’t)? (?:(?:that|this|it|there) )?{_WHOM}{_THERE}"),
    ("presence", rf"(?:do|can|could) you (?:see|spot|find|recogni[sz]e) {_WHOM}{_THERE}"),
    ("presence", rf"can {_WHOM} be (?:seen|found|spotted){_THERE}"),
    (
        "presence",
        rf"does (?:(?:the|this|that)(?: {_PHOTO})?|it) (?:show|contain|have|include) {_WHOM}{_THERE}",
    ),
    ("presence", _NAME),
)


@dataclass(frozen=True)
class Asked:
    """What a question is after."""

    kind: Kind
    concepts: tuple[Concept, ...]  # that it names, in reading order


def read(question: str, concepts: Sequence[Concept]) -> Asked:
    """Reads a question (English; any other language is of kind "other", names are found in all)."""
    owners: dict[str, tuple[Concept, ...]] = {
        name: (concept,) for concept in concepts for name in concept.names
    }
    hits = find_names(question, owners)
    if not hits:
        owners = _by_category(concepts)
        hits = find_names(question, owners)
    named = tuple(dict.fromkeys(concept for name, _, _ in hits for concept in owners[name]))
    bare = question
    for _, start, end in reversed(hits):
        bare = bare[:start] + _NAME + bare[end:]
    bare = re.sub(rf"{_NAME}(?:(?: ?(?:,|&|\band\b|\bor\b))+ ?{_NAME})+", _NAME, " ".join(bare.split()))
    return Asked(_kind(bare), named)


def means_someone(text: str) -> bool:
    """Whether a text points back at somebody by a pronoun: "where is she?"."""
    return bool(_PRONOUNS & set(re.findall(r"\w+", text.casefold())))


def _by_category(concepts: Sequence[Concept]) -> dict[str, tuple[Concept, ...]]:
    """Category -> its concepts: "my dog" means those of category dog where no name is in the text."""
    owners: dict[str, tuple[Concept, ...]] = {}
    for concept in concepts:
        if concept.category.strip():
            owners[concept.category] = (*owners.get(concept.category, ()), concept)
    return owners


def _kind(bare: str) -> Kind:
    text = re.sub(r"^(?:(?:and|so|but|please)\b,? *)+|,? please$", "", bare.strip(" .!?").casefold())
    return next((kind for kind, pattern in _PATTERNS if re.fullmatch(pattern, text)), "other")
