"""From logits to the text of an answer: which token to take, what to show of it, when to end."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence

import numpy as np

from kinsight.metrics import NameFinder
from kinsight.types import Floats

_SPACES = re.compile(r"\s+")
_ODD = 32  # characters: of marks and spaces within a name
_LONGEST_LOOP = 32  # tokens
_LOOP_TOKENS = 24  # a block of one token must come this often to be a loop
_LOOP_TIMES = 4  # and every longer block at least this often


def ranked(logits: Floats, temperature: float, rng: np.random.Generator) -> Iterator[int]:
    """Token ids, the one to take first; logits float32 (vocabulary,).

    Above temperature 0 this is a draw without replacement from softmax(logits / temperature), by the
    Gumbel-top-k trick (Kool et al. 2019, arXiv 1903.06059): a refused token costs no second draw.
    """
    if temperature == 0:
        likeliest = int(np.argmax(logits))
        if not np.isfinite(logits[likeliest]):
            return
        yield likeliest  # most often no other is asked for, and nothing need be copied
    scores = np.array(logits, np.float64)
    if temperature == 0:
        scores[likeliest] = -np.inf
    else:
        scores = scores / temperature + rng.gumbel(size=scores.shape)
    while np.isfinite(scores[best := int(np.argmax(scores))]):
        yield best
        scores[best] = -np.inf


class Banned:
    """Names that an answer must not mention, found as `find_names` finds them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = NameFinder(name for name in names if name.strip())

    def ending(self, said: bytes, piece: bytes) -> str:
        """The banned name in which UTF-8 text would end with this piece; "" for none.

        The end of the text counts as the end of a word. In what was said there is none yet, so only its end
        matters: in plain letters as much of it as the longest name has, else with room for odd spellings.
        """
        if not self._names.longest:
            return ""
        reach = self._names.longest + len(piece) + 1  # one more, to see whether a word begins there
        tail = said[-4 * (reach + _ODD) :]
        text, whole = (tail + piece).decode("utf-8", "ignore"), len(tail) == len(said)
        if text.isascii():
            text = _SPACES.sub(" ", text)
            text, whole = text[-reach:], whole and len(text) <= reach
        return next((name for name, start, _ in self._names.find(text) if start > 0 or whole), "")


class AnswerText:
    """Bytes of tokens in, text to show out: whole characters, no stop string, no space at either end."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = [stop for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._shown = False

    def feed(self, data: bytes) -> str:
        """The text that is safe to show now; `stopped` says that a stop string came up."""
        self._held += self._decoder.decode(data)
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = self._held[: min(found)]
            return self._show(len(self._held))
        return self._show(len(self._held) - self._start_of_a_stop())

    def finish(self) -> str:
        """What was held back and turned out to be text."""
        return "" if self.stopped else self._show(len(self._held))

    def _start_of_a_stop(self) -> int:
        """Characters at the end that may become a stop string."""
        starts = (stop[:size] for stop in self._stops for size in range(1, len(stop)))
        return max((len(start) for start in starts if self._held.endswith(start)), default=0)

    def _show(self, size: int) -> str:
        shown = self._held[:size].rstrip()
        self._held = self._held[len(shown) :]
        if not self._shown:
            shown = shown.lstrip()
            self._shown = bool(shown)
        return shown


def is_loop(tokens: list[int]) -> bool:
    """Whether the answer ends in the same 1 to 32 tokens again and again."""
    for size in range(1, _LONGEST_LOOP + 1):
        times = max(_LOOP_TIMES, -(-_LOOP_TOKENS // size))
        if len(tokens) < size * times:
            continue
        tail = tokens[-size * times :]
        if tail == tail[:size] * times:
            return True
    return False
