"""Which names and texts can be kept, and when two names are the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches

from kinsight.errors import ConceptError, UnknownConcept

NAME_LENGTH = 500
"""Characters in a name, an alias or a category."""
INFO_LENGTH = 10_000
"""Characters in an info."""
_KEPT_CONTROLS = "\n\r\t"
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")


def clean_name(text: str, what: str = "name") -> str:
    """A name as it is kept: like `clean_text`, and with something to see in it."""
    name = clean_text(text, what)
    if all(unicodedata.category(character) in _INVISIBLE for character in name):
        raise ConceptError(f"the {what} is empty", f"give a {what} with at least one visible character")
    return name


def clean_text(text: str, what: str, length: int = NAME_LENGTH) -> str:
    """A text as it is kept: in Unicode's normal form NFC, without white space around it, else unchanged.

    Raises:
        ConceptError: it is longer than `length` characters, or has a control character other than newline,
            carriage return and tab, or half of a surrogate pair, which no file can hold.
    """
    for character in text.strip():
        category = unicodedata.category(character)
        if category == "Cs" or (category == "Cc" and character not in _KEPT_CONTROLS):
            raise ConceptError(
                f"the {what} contains U+{ord(character):04X}, which is not a printable character",
                "leave that character out",
            )
    kept = unicodedata.normalize("NFC", text).strip()
    if len(kept) > length:
        raise ConceptError(
            f"the {what} has {len(kept)} characters, at most {length} can be kept", f"give a shorter {what}"
        )
    return kept


def name_key(name: str) -> str:
    """Equal for names that differ only in case or in how accents are composed (Unicode 3.13, D145)."""
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", folded)


def unknown(name: str, known: Sequence[str]) -> UnknownConcept:
    """The error for a name that is not among the known ones, with those that come close."""
    by_key = {name_key(other): other for other in known}
    close = [f'"{by_key[key]}"' for key in get_close_matches(name_key(name), by_key, n=3, cutoff=0.5)]
    if close:
        mend = f"did you mean {' or '.join(close)}?"
    elif known:
        mend = "look at the list of concepts, or remember this one first"
    else:
        mend = "nothing was remembered yet, so begin with remember"
    return UnknownConcept(f'nothing called "{name}" is in the store', mend)
