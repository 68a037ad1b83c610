"""Finding names in a text, whatever its script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from .checks import no_lone_string

NameKey = tuple[str, ...]
"""What two spellings of one name have in common: its folded grapheme clusters."""

_SHORTEST = 3  # characters of a name that `names_begun` looks for
_MISSPELT = 4  # and `names_misspelt`
_LONG = 5  # and of one that may end otherwise, in any script
_BEYOND_LATIN = "\u0250"
_ZERO_WIDTH_JOINER = "\u200d"
# Beside marks: joiners, Hangul vowels and finals, skin tones.
_EXTENDS = re.compile("[\u200c\u200d\u1160-\u11ff\U0001f3fb-\U0001f3ff]")
_UNSEEN = re.compile("[\u00ad\u061c\u200c-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_SAME = str.maketrans("‘’ʼ\u2010\u2011ı\u200b", "'''--i ")
# A letter or digit of a script whose words stand apart. Left out: Thai, Lao, Myanmar, Khmer, kana, Han, and
# Hangul, whose particles stick to the name; also the underscore, as models write _Lala_ for emphasis.
_SPACED = re.compile(
    r"[^\W_\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005\u3040-\u312f\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9f\U00020000-\U0003ffff]"
)


def find_names(text: str, names: Iterable[str]) -> list[tuple[str, int, int]]:
    """The names in a text in reading order: (name as given, start, end) for what is text[start:end].

    At each place the longest name wins, and hits never overlap: with "Ann" and "Ann Lee" known, "Ann Lee"
    is no "Ann". A hit begins and ends at a word boundary, so "Ann" is not in "Anna"; "Ann's", "Ann’s" and
    "Ann-like" name Ann, "Don't" does not name Don. The span leaves the possessive out.

    Compared are canonical caseless forms (Unicode D145: NFC and NFD, "ß" and "SS" are equal), with runs
    of white space as one space, straight and curly apostrophes as one, dotted and dotless i as one
    (either may be the other case of I), and invisible marks (bidi, soft hyphen, variation selectors) left
    out. An ordinary word that is also a name ("will", "rose") counts. Of names that compare as equal, the
    one spelled as in the text is given, else the first.

    Where a script writes no spaces (Han, kana, Thai, Lao, Khmer, Myanmar), and next to Hangul, whose
    particles stick to the name, no boundary is asked for: 小花 is found in 小花在睡觉, and also inside a
    longer word. Inflected forms in other scripts are other words; give them as names.

    Raises ValueError for a name without a visible character, or one string in place of names.
    """
    return _finder(tuple(no_lone_string("names", names))).find(text)


class NameFinder:
    """Finds the same names in many texts, as `find_names` does: they are folded once."""

    def __init__(self, names: Iterable[str]) -> None:
        """Raises ValueError for a name without a visible character."""
        self._spellings: dict[NameKey, list[str]] = {}
        for name in names:
            self._spellings.setdefault(name_key(name), []).append(name)
        lengths: dict[str, set[int]] = {}
        for key in self._spellings:
            lengths.setdefault(key[0], set()).add(len(key))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        self.longest = max(map(len, self._spellings), default=0)  # characters of a name, as they are compared

    def find(self, text: str) -> list[tuple[str, int, int]]:
        """(name as given, start, end) in reading order."""
        units = _units(text)
        folded = tuple(unit.folded for unit in units)
        found: list[tuple[str, int, int]] = []
        row = 0
        while row < len(units):
            hit = self._longest_at(row, units, folded)
            if hit:
                start, end = units[row].start, units[row + len(hit) - 1].end
                found.append((_as_written(text[start:end], self._spellings[hit]), start, end))
            row += len(hit) if hit else 1
        return found

    def _longest_at(self, row: int, units: list[_Unit], folded: NameKey) -> NameKey | None:
        lengths = self._lengths.get(folded[row])
        if lengths is None or not _splits(units, row):
            return None
        keys = (folded[row : row + length] for length in lengths if length <= len(units) - row)
        return next((key for key in keys if key in self._spellings and _ends(units, row + len(key))), None)


_finder = lru_cache(maxsize=32)(NameFinder)
"""Kept: a text is often held against the same names as the one before."""


class Begun(NamedTuple):
    """A word that begins like a name and goes on otherwise: "Cosimara" or "Cosimo" for "Cosima"."""

    name: str  # as given
    word: str  # as in the text
    ending: str | None  # what stands behind the name; None where its last letter is another one


def names_begun(text: str, names: Iterable[str], least: float = 1.0) -> list[Begun]:
    """The words of a text that begin like a name, in reading order, and are none of the names themselves.

    `least` of a name is there, of five characters and more also all but the last, but never less than three.
    Compared as in `find_names`, and like there, where a script writes no spaces, a name has no word that
    could go on.
    """
    keys = {name: name_key(name) for name in no_lone_string("names", names)}
    roots: dict[str, list[tuple[str, NameKey]]] = {}
    for name, key in keys.items():
        if len(key) >= _SHORTEST:
            size = min(ceil(least * len(key)), len(key) - (len(key) >= _LONG))
            roots.setdefault(key[0], []).append((name, key[: max(_SHORTEST, size)]))
    whole, units = set(keys.values()), _units(text)
    folded = tuple(unit.folded for unit in units)
    found = []
    for row in range(len(units)):
        for name, root in roots.get(folded[row], []) if _splits(units, row) else []:
            end = row + len(root)
            if folded[row:end] != root:
                continue
            while not _splits(units, end):
                end += 1
            if end == row + len(root) or folded[row:end] in whole:
                continue
            past = row + len(keys[name])
            goes_on = folded[row:past] == keys[name]
            ending = text[units[past].start : units[end - 1].end] if goes_on else None
            found.append(Begun(name, text[units[row].start : units[end - 1].end], ending))
    return found


def names_misspelt(text: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """(name as given, what stands for it) where one letter is wrong, in reading order; none is a name itself.

    One letter is another one, missing or too many, or two are exchanged: "Cosina" for "Cosima". The first one
    is right, and a name has four characters at least. What differs at the end alone is left to `names_begun`,
    unless the name is of four Latin letters: "Lalo" for "Lala". Compared as in `find_names`.
    """
    keys = {name: name_key(name) for name in no_lone_string("names", names)}
    wanted = {name: key for name, key in keys.items() if len(key) >= _MISSPELT}
    whole, units = set(keys.values()), _units(text)
    folded = tuple(unit.folded for unit in units)
    found = []
    for row in (row for row in range(len(units)) if _splits(units, row)):
        for name, key in wanted.items():
            end = _words_end(units, row, 1 + key.count(" "))
            word = folded[row:end]
            if word[0] == key[0] and word not in whole and _is_misspelt(word, key):
                found.append((name, text[units[row].start : units[end - 1].end]))
    return found


def names_mentioned(text: str, names: Iterable[str]) -> set[str]:
    """The names that a text mentions, as `find_names` finds them."""
    return {name for name, _, _ in find_names(text, names)}


def names_published(caption: str, names: Iterable[str]) -> set[str]:
    """The names that a caption contains for the published scorer: a token equals the name or "<name>".

    Tokens are split at white space, lower-cased, and stripped of .,!?;:()[]{}"'- at both ends, so a name
    of two words or with a possessive is never found. Source: RePIC's evaluation/eval_single_concept.py
    and eval_multi_4_concept.py (eval_multi_2_concept.py keeps the case); RAP published no scorer for
    captions.
    """
    tokens = {token.strip(".,!?;:()[]{}\"'-") for token in caption.replace("</s>", "").lower().split()}
    bare = {name: re.sub("^<(.*)>$", r"\1", name.lower()) for name in no_lone_string("names", names)}
    return {name for name, token in bare.items() if token and {token, f"<{token}>"} & tokens}


@lru_cache(maxsize=1 << 15)
def name_key(name: str) -> NameKey:
    """The form in which names are compared, see `find_names`."""
    key = [unit.folded for unit in _units(name)]
    while key and " " in (key[0], key[-1]):  # also a space that an invisible mark kept from being one
        key.pop(0 if key[0] == " " else -1)
    if not key:
        raise ValueError(f"expected a name with at least one visible character, got {name!r}")
    return tuple(key)


class _Unit(NamedTuple):
    folded: str  # a grapheme cluster as it is compared
    start: int  # code points of the text, [start, end)
    end: int


def _units(text: str) -> list[_Unit]:
    units: list[_Unit] = []
    for start, end in _clusters(text):
        for folded in _fold(text[start:end]):
            if folded != " " or (units and units[-1].folded != " "):
                units.append(_Unit(folded, start, end))
    return units


def _clusters(text: str) -> list[tuple[int, int]]:
    """(start, end) of each grapheme cluster: a character with its marks, or joined emoji (after UAX 29)."""
    starts = list(range(len(text)))
    if not text.isascii():
        starts = [i for i in starts if i == 0 or not _extends(text[i - 1], text[i])]
    return list(zip(starts, [*starts, len(text)][1:], strict=True))


def _extends(before: str, char: str) -> bool:
    category = unicodedata.category(char)
    emoji = before == _ZERO_WIDTH_JOINER and category == "So"
    return emoji or category[0] == "M" or _EXTENDS.match(char) is not None


@lru_cache(maxsize=4096)
def _fold(cluster: str) -> tuple[str, ...]:
    """One cluster as it is compared; "ß" becomes two, an invisible mark none."""
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", cluster).casefold())
    folded = _UNSEEN.sub("", folded).translate(_SAME).replace("i\u0307", "i")
    return (" ",) if folded.isspace() else tuple(folded[start:end] for start, end in _clusters(folded))


def _ends(units: list[_Unit], end: int) -> bool:
    """Whether a name may end here, and not in the midst of a word."""
    tail = [unit.folded for unit in units[end : end + 2]]
    contraction = tail == ["'", "t"] and _splits(units, end + 2)  # Don't and Can't name neither Don nor Can
    return _splits(units, end) and not contraction


def _words_end(units: list[_Unit], row: int, count: int) -> int:
    """Where so many words end that begin in this row."""
    end = row
    for word in range(count):
        end += 1 + (word > 0)
        while not _splits(units, end):
            end += 1
    return min(end, len(units))


def _is_misspelt(word: NameKey, name: NameKey) -> bool:
    """Whether one letter within a name is wrong, or at the end of one of four Latin letters."""
    same = next((at for at, pair in enumerate(zip(word, name, strict=False)) if pair[0] != pair[1]), None)
    if same is None or same + 1 == len(name) == len(word):  # at the end
        return len(name) < _LONG and name[-1] < _BEYOND_LATIN and len(word) <= len(name) <= len(word) + 1
    left, right = word[same:], name[same:]
    swapped = left[:2] == right[1::-1] and left[2:] == right[2:]
    return swapped or left[1:] == right[1:] or left[1:] == right or left == right[1:]


def _splits(units: list[_Unit], row: int) -> bool:
    """Whether a word may end before this row: at the text's ends, and not inside a character or a word."""
    if not 0 < row < len(units):
        return True
    left, right = units[row - 1], units[row]
    return left.start != right.start and not (_in_words(left.folded) and _in_words(right.folded))


@lru_cache(maxsize=4096)
def _in_words(folded: str) -> bool:
    return _SPACED.match(folded) is not None


def _as_written(written: str, names: list[str]) -> str:
    written = unicodedata.normalize("NFC", written)
    return next((name for name in names if unicodedata.normalize("NFC", name) == written), names[0])
