"""A line of text in a picture, in every script that OpenCV's fonts have: measured, cut to a width, drawn."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from kinsight.types import Pixels

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

_WEIGHT = 500  # of the variable font: 400 is regular, 700 bold
_HERSHEY = cv2.FONT_HERSHEY_SIMPLEX  # OpenCV < 5: strokes, ASCII only
_FLAG_LETTER = "regional indicator symbol letter "
_RIGHT_TO_LEFT = re.compile(
    r"[\u0590-\u08ff\ufb1d-\ufefc](?:[\u0590-\u08ff\ufb1d-\ufefc\W\d_]*[\u0590-\u08ff\ufb1d-\ufefc])?"
)


def text_width(text: str, size: int) -> int:
    """Pixels that `text` takes at a font size of `size` pixels."""
    shown = drawable(text)
    if _has_unicode():
        return int(cv2.getTextSize((0, 0), shown, (0, 0), _face(), size, _WEIGHT)[2])
    return int(cv2.getTextSize(shown, _HERSHEY, *_hershey(size))[0][0])


def fit_text(text: str, size: int, width: int) -> str:
    """The text in one line, ending in "..." where it is wider than `width` pixels; "" if nothing fits."""
    line = "".join(map(_in_words, _visible(" ".join(text.split()))))
    if text_width(line, size) <= width:
        return line
    fitting, too_long = 0, len(line)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        if text_width(f"{line[:middle].rstrip()}...", size) <= width:
            fitting = middle
        else:
            too_long = middle
    return f"{line[:fitting].rstrip()}..." if fitting else ""


def draw_text(pixels: Pixels, text: str, left_baseline: tuple[int, int], size: int, colour: Colour) -> None:
    """Draws in place; the caller has made sure that the text fits."""
    shown = drawable(text)
    if _has_unicode():
        cv2.putText(pixels, shown, left_baseline, colour, _face(), size, _WEIGHT)
    else:
        scale, thickness = _hershey(size)
        cv2.putText(pixels, shown, left_baseline, _HERSHEY, scale, colour, thickness, cv2.LINE_AA)


def _hershey(size: int) -> tuple[float, int]:
    """(font scale, stroke thickness) whose capitals are as high as those of the Unicode font."""
    thickness = max(1, round(size / 12))
    return cv2.getFontScaleFromHeight(_HERSHEY, max(1, round(size * 0.7)), thickness), thickness


def _has_unicode() -> bool:
    return hasattr(cv2, "FontFace")  # OpenCV >= 5


@lru_cache(maxsize=1)
def _face() -> Any:
    return cv2.FontFace("sans")


def can_draw(text: str) -> bool:
    """Whether every letter can be seen as what it is; for one without a letter in the fonts there is "?"."""
    shown = "".join(map(_in_words, _visible(text)))
    return all(character.isspace() or _has_letter(character, _has_unicode()) for character in shown)


def drawable(text: str) -> str:
    """What OpenCV can draw letter by letter: no invisible characters, right-to-left words turned round.

    Emoji that the fonts lack are drawn as words, "(dog)". Arabic stays unjoined: the fonts have no joined
    forms. Without the Unicode font accents are dropped and what ASCII has no letter for becomes "?".
    """
    shown = "".join(map(_in_words, _visible(text)))
    if _has_unicode():
        return _RIGHT_TO_LEFT.sub(_reversed, shown)
    plain = (c for c in unicodedata.normalize("NFKD", shown) if not unicodedata.combining(c))
    return "".join(c if c.isascii() else "?" for c in plain)


def _visible(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFC", text) if not _invisible(c))


def _in_words(character: str) -> str:
    """A symbol that the fonts lack by its name in Unicode; skin colours and the like go without saying."""
    if character.isascii() or _has_letter(character, _has_unicode()):
        return character
    name = unicodedata.name(character, "").lower()
    match unicodedata.category(character):
        case "So" if name.startswith(_FLAG_LETTER):
            return name.removeprefix(_FLAG_LETTER).upper()
        case "So" if name:
            return f"({name})"
        case "Sk":
            return ""
    return character


@lru_cache(maxsize=4096)
def _has_letter(character: str, unicode: bool) -> bool:
    """Whether the font has it. What it lacks comes as a question mark, or as nothing at all."""
    if not unicode:
        return unicodedata.normalize("NFKD", character)[0].isascii()
    pictures = [np.zeros((48, 64, 3), np.uint8) for _ in range(2)]
    for pixels, shown in zip(pictures, (character, "?"), strict=True):
        cv2.putText(pixels, shown, (8, 36), (255, 255, 255), _face(), 24, _WEIGHT)
    return character == "?" or bool(pictures[0].any() and (pictures[0] != pictures[1]).any())


def _invisible(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs"} or "\ufe00" <= character <= "\ufe0f"


def _reversed(run: re.Match[str]) -> str:
    """A right-to-left run in drawing order; numbers in it keep their own."""
    return re.sub(r"\d+(?:[.,:]\d+)*", lambda number: number[0][::-1], run[0])[::-1]
