"""Answers that are read off the logits: which choice, how likely, and how likely a given sentence is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kinsight.llm.context import Context
from kinsight.llm.model import MOST_OUTPUTS, Model
from kinsight.llm.spans import Prompt
from kinsight.llm.stream import Tally
from kinsight.llm.turns import Text, Usage
from kinsight.types import Floats

YES_NO = ("yes", "no")
LETTERS = tuple("ABCDEFGHIJ")
_NEGLIGIBLE = 1e-6  # of a probability: not worth reading on


@dataclass(frozen=True)
class Choices:
    """How likely an answer begins with each of some choices."""

    probabilities: Mapping[str, float]  # choice -> 0..1; they add up to 1
    covered: float  # 0..1: that the answer begins with any of them at all
    usage: Usage

    @property
    def best(self) -> str:
        """The likeliest; of equal ones the first."""
        return max(self.probabilities, key=lambda choice: self.probabilities[choice])


@dataclass(frozen=True)
class Score:
    """How likely a model says a given text."""

    text: str
    log_probability: float  # natural logarithm, of all its tokens together
    tokens: int


class Judge:
    """Looks at what a model would say after a prompt that it has read, and leaves it as it was."""

    def __init__(self, model: Model, context: Context, prompt: Prompt, tally: Tally) -> None:
        self._model, self._context = model, context
        self._prompt, self._tally = prompt, tally
        self._first = _log_softmax(model.logits())

    def choices(self, choices: Sequence[str]) -> dict[str, float]:
        """Choice -> probability that the answer begins with it, however it is written or cut into tokens."""
        return {choice: sum(map(self._probability, self._ways(choice))) for choice in choices}

    def score(self, text: str) -> Score:
        """Of a text right after the prompt."""
        tokens = self._model.vocabulary.tokens(Text(text))
        return Score(text, self._log_probability(tokens), len(tokens))

    def _ways(self, choice: str) -> Iterator[tuple[int, ...]]:
        """The token rows that spell a choice; none of them begins with another."""
        rows = {tuple(self._model.vocabulary.tokens(Text(form))) for form in spellings(choice)}
        for row in rows:
            if row and not any(row[:size] in rows for size in range(1, len(row))):
                yield row

    def _probability(self, tokens: Sequence[int]) -> float:
        if np.exp(self._first[tokens[0]]) < _NEGLIGIBLE:
            return 0.0
        return float(np.exp(self._log_probability(tokens)))

    def _log_probability(self, tokens: Sequence[int]) -> float:
        """Natural logarithm, of all these tokens in a row."""
        total, after = 0.0, self._first
        at_once = min(MOST_OUTPUTS, self._model.batch_tokens)
        for begin in range(0, len(tokens), at_once):
            some = tokens[begin : begin + at_once]
            total += float(after[some[0]])
            if begin + 1 == len(tokens):
                break
            self._context.add(some)
            for row, token in enumerate(some[1:]):
                total += float(_log_softmax(self._model.logits(row))[token])
            after = _log_softmax(self._model.logits())
        if len(tokens) > 1:
            self._context.back_to(self._prompt, self._tally)
        return total


def spellings(choice: str) -> set[str]:
    """A word as an answer may begin with it; a single letter only as it is, since "a" is a word too."""
    forms = {choice} if len(choice) == 1 else {choice, choice.lower(), choice.upper(), choice.capitalize()}
    return forms | {f" {form}" for form in forms}


def _log_softmax(logits: Floats) -> Floats:
    """float64 (vocabulary,): natural logarithms of the probabilities."""
    shifted = logits.astype(np.float64) - logits.max()
    result: Floats = shifted - np.log(np.exp(shifted).sum())
    return result
