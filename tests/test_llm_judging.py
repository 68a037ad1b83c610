"""Answers read off the logits: choices, scores of given texts, and JSON that keeps to a schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from kinsight.errors import ModelError
from kinsight.llm import LETTERS, Generation, Llm, Text, Turn, load_llm
from kinsight.llm.judging import spellings
from kinsight.types import Floats
from talkers import CONTEXT, HELLO, NEEDS_LLAMA_CPP, part, picture, say, talker
from talkers import device as one_thread
from tiny_gguf import make_text_gguf

pytestmark = NEEDS_LLAMA_CPP


@pytest.fixture(scope="module")
def babbler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llm]:
    """Random weights; letters are pieces, and so are a few words."""
    made = make_text_gguf(tmp_path_factory.mktemp("babbler") / "llm.gguf", seed=4)
    with load_llm(part(made), one_thread()) as llm:
        yield llm


def after(llm: Llm, tokens: Sequence[int]) -> Floats:
    """Log probabilities of the next token after "Hello" and some tokens, everything read anew."""
    prompt = llm._prompt(HELLO)
    read = [cell.what for cell in prompt.cells if isinstance(cell.what, int)] + list(tokens)
    llm._context.clear()
    llm._model.decode(read, 0)
    logits = llm._model.logits().astype(np.float64)
    llm._context.clear()
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


def likely(llm: Llm, tokens: Sequence[int]) -> float:
    """Log probability of tokens after "Hello", one by one."""
    return float(sum(after(llm, tokens[:at])[token] for at, token in enumerate(tokens)))


def test_a_score_is_the_sum_over_the_tokens(babbler: Llm) -> None:
    texts = ["a dog is a cat", " Lala", "", "x" * 150]
    for text, score in zip(texts, babbler.score(HELLO, texts), strict=True):
        tokens = babbler._words.tokens(Text(text))
        assert score.tokens == len(tokens)
        assert score.text == text
        assert score.log_probability == pytest.approx(likely(babbler, tokens), abs=0.02)


def test_every_way_to_write_a_choice_counts_once(babbler: Llm) -> None:
    found = babbler.choose(HELLO, ["dog", "Ann"])
    wanted = {}
    for choice in ("dog", "Ann"):
        rows = {tuple(babbler._words.tokens(Text(form))) for form in spellings(choice)}
        assert len(rows) > 2 and any(len(row) > 1 for row in rows)
        wanted[choice] = sum(np.exp(likely(babbler, row)) for row in rows)
    total = sum(wanted.values())
    assert found.covered == pytest.approx(total, rel=0.02)
    assert found.probabilities == pytest.approx(
        {name: share / total for name, share in wanted.items()}, rel=0.02
    )
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.best == max(wanted, key=lambda name: wanted[name])
    assert found.usage.tokens["prompt"] == babbler.count(HELLO)


def test_a_spelling_that_begins_with_another_is_in_it_already() -> None:
    assert spellings("A") == {"A", " A"}
    assert spellings("yes") == {*("yes", "Yes", "YES"), *(" yes", " Yes", " YES")}
    assert spellings("no way") >= {"no way", " No way"}


def test_the_letter_that_the_model_says_is_the_likeliest(tmp_path: Path) -> None:
    for said in "CJ":
        (tmp_path / said).mkdir()
        script = {"<|assistant|>": [f" {said}"], f" {said}": ["<|end|>"]}
        with talker(tmp_path / said, script) as llm:
            found = llm.choose(HELLO, LETTERS)
            assert found.best == said == say(llm)
            assert found.probabilities[said] > 1 / len(LETTERS)


def test_judging_changes_no_later_answer(babbler: Llm, seeing: Llm) -> None:
    plain = say(babbler, max_tokens=12)
    babbler.choose(HELLO, ["dog", "cat"])
    babbler.score(HELLO, ["a dog is a cat"])
    assert say(babbler, max_tokens=12) == plain
    asked = [Turn("user", (picture(3), Text("a dog")))]
    choices = ["Lala", "Ann", "Hello", "dog"]
    first = seeing.choose(asked, choices)
    second = seeing.choose(asked, choices)
    assert second.probabilities == pytest.approx(first.probabilities, abs=1e-5)
    assert second.usage.encodes == 0
    assert second.usage.tokens["cached"] == second.usage.tokens["prompt"] - 1
    other = seeing.choose([Turn("user", (picture(4), Text("a dog")))], choices)
    assert max(abs(other.probabilities[one] - first.probabilities[one]) for one in choices) > 1e-4


def test_what_cannot_be_judged_is_refused(babbler: Llm) -> None:
    with pytest.raises(ModelError, match="but only 1024 fit"):
        babbler.score(HELLO, ["x" * CONTEXT])
    for wrong in ([], ["yes", " "]):
        with pytest.raises(ValueError, match="expected one choice or more"):
            babbler.choose(HELLO, wrong)


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "kind": {"enum": ["dog", "cat"]},
        "age": {"type": "integer"},
        "likes": {"type": "array", "items": {"enum": ["sea", "bones"]}, "maxItems": 2},
    },
    "required": ["name", "kind", "age", "likes"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(4))
def test_a_random_model_keeps_to_a_schema(babbler: Llm, seed: int) -> None:
    found = babbler.answer_json(HELLO, SCHEMA, Generation(max_tokens=200, temperature=2.0, seed=seed))
    assert set(found) == {"name", "kind", "age", "likes"}
    assert len(found["name"]) <= 6 or "\ufffd" in found["name"]  # random bytes are often no character
    assert found["kind"] in ("dog", "cat")
    assert isinstance(found["age"], int)
    assert len(found["likes"]) <= 2 and set(found["likes"]) <= {"sea", "bones"}


def test_a_name_stays_banned_inside_json(babbler: Llm) -> None:
    schema = {"enum": ["Lala", "Bo"]}
    found = babbler.answer_json(HELLO, schema)
    other = babbler.answer_json(HELLO, {"enum": ["Lala.", "Bo", "Lala"]}, Generation(banned=("Bo",)))
    assert found in ("Lala", "Bo") and other in ("Lala", "Lala.")
    with pytest.raises(ModelError, match="no answer keeps to the schema and to the banned names"):
        babbler.answer_json(HELLO, {"enum": ["Bo"]}, Generation(banned=("Bo",)))


def test_an_answer_that_is_cut_off_is_no_json(babbler: Llm) -> None:
    with pytest.raises(ModelError, match="no whole JSON after 3 tokens: allow more"):
        babbler.answer_json(HELLO, SCHEMA, Generation(max_tokens=3))


def test_a_schema_that_makes_no_grammar_is_refused(babbler: Llm) -> None:
    for wrong in ({"type": "nonsense"}, {"$ref": "https://example.org/schema"}, {"enum": {1}}):
        with pytest.raises(ModelError, match=r"the JSON schema (makes no grammar|says .ref)"):
            babbler.answer_json(HELLO, wrong)
    bounded = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 9}}}
    with pytest.raises(ModelError, match="says maximum, which no grammar can keep"):
        babbler.answer_json(HELLO, bounded)
