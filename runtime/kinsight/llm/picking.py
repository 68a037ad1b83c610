"""Which token comes next in an answer: the likeliest or a drawn one, of those that may."""

from __future__ import annotations

import numpy as np

from kinsight.errors import ModelError
from kinsight.llm.answer import Banned, ranked
from kinsight.llm.grammar import Grammar
from kinsight.llm.native import MEND_FILE
from kinsight.llm.turns import Generation
from kinsight.llm.vocabulary import Vocabulary
from kinsight.types import Floats


class Picker:
    """Picks one answer's tokens in their order."""

    def __init__(self, words: Vocabulary, options: Generation) -> None:
        """ModelError where the schema of the options cannot be used."""
        self.withheld: list[str] = []  # banned names that would have come, but for the ban
        self._words = words
        self._temperature = options.temperature
        self._rng = np.random.default_rng(options.seed)
        self._banned = Banned(options.banned)
        self._grammar = Grammar(words, options.schema) if options.schema is not None else None
        self._said = b""

    def pick(self, logits: Floats) -> int:
        """The next token, logits float32 (vocabulary,); it completes no banned name and fits the schema.

        Raises ModelError where no token may come.
        """
        likeliest = next(ranked(logits, self._temperature, self._rng), None)
        if likeliest is None or not self._may(likeliest):
            likeliest = self._other(logits)
        if not self._words.ends(likeliest):
            self._said += self._words.piece(likeliest)
            if self._grammar:
                self._grammar.accept(likeliest)
        return likeliest

    def _other(self, logits: Floats) -> int:
        """The first in order that may come, where the likeliest of all may not."""
        allowed = self._grammar.allowed(logits) if self._grammar else logits
        for token in ranked(allowed, self._temperature, self._rng):
            if self._may(token):
                return token
        if self._grammar and np.isfinite(logits).any():
            raise ModelError(
                "no answer keeps to the schema and to the banned names", "take these names out of the schema"
            )
        raise ModelError("the language model gives no finite logits", MEND_FILE)

    def _may(self, token: int) -> bool:
        if name := self._banned.ending(self._said, self._words.piece(token)):
            if name not in self.withheld:
                self.withheld.append(name)
            return False
        if not self._grammar:
            return True
        no_text = self._words.ends(token) and not self._words.is_end(token)
        return not no_text and self._grammar.allows(token)
