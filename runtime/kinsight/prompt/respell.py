"""Puts a name right that a model nearly wrote: small ones misspell names of rare letters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from kinsight.metrics import names_mentioned
from kinsight.prompt.say import ALLOWED, words

LEAST_ALIKE = 0.7
"""Twice the letters in common, of all letters of both: "Isuki" and "Itsuki" have .91."""
_DOES = (
    r"(?:\W+\w+){0,3}?\W+"
    r"(?:is|was|has|does|wears|sits|stands|lies|sleeps|runs|plays|eats|likes|loves|looks|holds|wants|lives)\b"
)
_POSSESSIVE = re.compile(r"['’]s$")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def respelt(text: str, before: str, names: Sequence[str], known: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The text with the names that it nearly holds, and what stood there -> the name.

    A name is put where as many words stand that begin with the same letter and are alike enough, unless all
    of them stand in a text of `known`, where they mean something else, or are the name with another ending.
    Nowhere if the name itself stands in the text or `before` it: then what is like it is somebody else. The
    most alike come first.
    """
    others = _ordinary((*names, *known))
    found = []
    for name in dict.fromkeys(names):
        if not names_mentioned(f"{before} {text}", [name]):
            found += [(-alike, name, wrong) for wrong, alike in _alike(text, name, others).items()]
    put: dict[str, str] = {}
    for _, name, wrong in sorted(found):
        if name not in put.values() and not any(set(words(wrong)) & set(words(other)) for other in put):
            put[wrong] = name
    if put:
        wrong = "|".join(re.escape(one) for one in put)
        text = re.sub(rf"(?<!\w)(?:{wrong})(?!\w)", lambda found: put[found[0]], text)
    return text, put


def garbled(text: str, names: Sequence[str], known: Iterable[str]) -> list[str]:
    """What stands for somebody in place of one of the names and is none: "Csumi is yellow", "Cbody sits".

    It is written large, has a name's first letter and does what only somebody does. An ordinary word that is
    refused so costs no more than the model's own phrasing.
    """
    others = _ordinary((*names, *known))
    initials = {name[0] for name in names}
    return [
        word[0]
        for word in _WORD.finditer(text)
        if word[0][0] in initials
        and word[0][0].isupper()
        and not others.issuperset(words(word[0]))
        and re.match(_DOES, text[word.end() :])
    ]


@lru_cache(maxsize=4)
def _ordinary(texts: tuple[str, ...]) -> frozenset[str]:
    """The words of these texts, thousands of names among them, and those that any answer may hold."""
    return ALLOWED.union(*map(words, texts))


def _alike(text: str, name: str, others: frozenset[str]) -> dict[str, float]:
    """What stands in a text and may be meant for the name, and how alike it is, LEAST_ALIKE..1."""
    count = len(_WORD.findall(name))
    found, alike = list(_WORD.finditer(text)), {}
    for first, last in zip(found, found[count - 1 :], strict=False) if count else ():
        wrong = _POSSESSIVE.sub("", text[first.start() : last.end()])
        stem = name if name.isascii() else name[:-1]  # in other scripts the last letter changes, too
        inflected = wrong.casefold().startswith(stem.casefold())
        if wrong[0] == name[0] and not inflected and not others.issuperset(words(wrong)):
            share = SequenceMatcher(None, wrong.casefold(), name.casefold(), autojunk=False).ratio()
            if share >= LEAST_ALIKE:
                alike[wrong] = share
    return alike
