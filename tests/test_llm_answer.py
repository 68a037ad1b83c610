"""What a model says: streaming, stop strings, bans, loops, draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinsight.llm import Generation, Llm
from kinsight.llm.answer import AnswerText, Banned, is_loop, ranked
from kinsight.metrics import find_names
from talkers import HELLO, NEEDS_LLAMA_CPP, SENTENCE, say, talker
from tiny_gguf import ASSISTANT, END

pytestmark = NEEDS_LLAMA_CPP


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llm]:
    """Says "Lala is a dog." to everything."""
    with talker(tmp_path_factory.mktemp("sentence")) as llm:
        yield llm


def test_an_answer_streams_token_by_token(sentence: Llm) -> None:
    stream = sentence.generate(HELLO)
    assert not stream.ended
    assert (list(stream), stream.ended) == (["Lala", " is", " a", " dog", "."], "stop")
    assert stream.usage.tokens == {"prompt": sentence.count(HELLO), "cached": 0, "answer": 5}
    times = stream.usage.timings_ms
    assert set(times) == {"first_token", "encode", "prefill", "decode"}
    assert 0 < times["prefill"] < times["first_token"] and times["decode"] > 0 and times["encode"] == 0


def test_a_control_token_ends_an_answer_and_is_never_shown(tmp_path: Path) -> None:
    llm = talker(tmp_path, {ASSISTANT: [" dog"], " dog": ["<|user|>"], "<|user|>": [" cat"]})
    stream = llm.generate(HELLO)
    assert ("".join(stream), stream.ended) == ("dog", "stop")


@pytest.mark.parametrize(
    ("stop", "shown"),
    [
        (("a dog",), ["Lal", "a is"]),
        ((" a",), ["Lala", " is"]),
        (("dog", "a dog"), ["Lal", "a is"]),
        (("is a dog!",), ["Lala", " is a dog."]),
        (("Lala",), []),
        (("",), ["Lala", " is", " a", " dog", "."]),
    ],
)
def test_a_stop_string_is_held_back(sentence: Llm, stop: tuple[str, ...], shown: list[str]) -> None:
    stream = sentence.generate(HELLO, Generation(stop=stop))
    assert (list(stream), stream.ended) == (shown, "stop")


def test_what_was_held_back_for_nothing_is_shown_at_the_end(sentence: Llm) -> None:
    assert say(sentence, max_tokens=3, stop=("is a dog",)) == "Lala is a"


def test_the_stop_strings_of_the_bundle_count(tmp_path: Path) -> None:
    assert say(talker(tmp_path, SENTENCE, stop=("dog",))) == "Lala is a"


@given(st.text(), st.text("ab ", max_size=3), st.lists(st.integers(1, 5), min_size=1))
def test_any_text_in_any_chunks_is_shown_up_to_the_stop(text: str, stop: str, sizes: list[int]) -> None:
    data, answer = text.encode("utf-8", "replace"), AnswerText((stop,))
    pieces: list[str] = []
    while data and not answer.stopped:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(answer.feed(data[:size]))
        data = data[size:]
    shown = "".join(pieces) + answer.finish()
    kept = text.encode("utf-8", "replace").decode()
    assert shown == (kept[: kept.find(stop)] if stop and stop in kept else kept).strip()


def test_a_character_of_several_tokens_comes_whole(tmp_path: Path) -> None:
    dog = ["<0xF0>", "<0x9F>", "<0x90>", "<0xB6>"]
    chain = [ASSISTANT, " a", *dog, " dog", "<0xC3>", "<0xA9>", END]
    llm = talker(tmp_path, {token: [chain[number]] for number, token in enumerate(chain[:-1], 1)})
    assert list(llm.generate(HELLO)) == ["a", "\U0001f436", " dog", "\u00e9"]
    cut = llm.generate(HELLO, Generation(max_tokens=4))
    assert (list(cut), cut.ended) == (["a"], "length")


@pytest.mark.parametrize(
    ("banned", "answer"),
    [
        (("Lala",), "Ann is a dog."),
        (("LALA", "aNN"), "cat"),
        (("dog",), "Lala is a cat"),
        (("a  Dog",), "Lala is a cat"),
        (("la",), "Lala is a dog."),
        (("Lala", "Ann", "cat"), ""),
        (("", " "), "Lala is a dog."),
    ],
)
def test_a_banned_name_is_never_completed(sentence: Llm, banned: tuple[str, ...], answer: str) -> None:
    assert say(sentence, banned=banned) == answer


def test_a_banned_name_is_banned_over_token_borders(tmp_path: Path) -> None:
    llm = talker(tmp_path, {ASSISTANT: [" La"], " La": ["la", "ke"], "ke": [END], "la": [END]})
    assert (say(llm), say(llm, banned=("lala",))) == ("Lala", "Lake")


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("Ann", True),
        ("JoAnn", False),
        ("Hello" * 30 + " ann", True),
        ("JoAnn " + "z" * 56, False),
        ("Old\n \tTom", True),
        ("", False),
    ],
)
def test_a_ban_looks_at_whole_words_at_the_end(text: str, ends: bool) -> None:
    banned = Banned(("Ann", "Old Tom"))
    assert bool(banned.ending(text[:-1].encode(), text[-1:].encode())) is ends
    assert bool(banned.ending(b"", text.encode())) is ends


def test_a_ban_looks_at_as_much_as_it_must() -> None:
    """However an answer is cut: in what is let pass there is no banned name, and in what is not there is."""
    names = ("Ann", "Zoë", "Old  Tom", "Straße 7", "小花", "Jean-Luc", "Ann Lee of the Sea")
    written = [*names, "Zoe\u0308", "STRASSE 7", "old\n   tom", "An\u00adn", "Anna", "xOld Tom", "it", "Tom"]
    separators = [" ", " ", "\n", ". ", "", "'s ", "-", "    "]
    rng, counts, banned = np.random.default_rng(4), [0, 0], Banned(names)
    for _ in range(40):
        said, text = "", "".join(rng.choice(written) + rng.choice(separators) for _ in range(12))
        while text:
            size = int(rng.integers(1, 9))
            piece, text = text[:size], text[size:]
            there = find_names(said + piece, names)
            assert bool(banned.ending(said.encode(), piece.encode())) == bool(there), (said, piece)
            counts[bool(there)] += 1
            said += "" if there else piece
    assert min(counts) > 100


def test_no_draw_gets_past_a_ban(seeing: Llm) -> None:
    names = ("Lala", "Ann", "dog", "cat")
    draws = {"max_tokens": 60, "temperature": 2.0}
    free = [say(seeing, seed=seed, **draws) for seed in range(8)]
    held = [say(seeing, seed=seed, banned=names, **draws) for seed in range(8)]
    assert any(find_names(text, names) for text in free)
    assert not any(find_names(text, names) for text in held)


@pytest.mark.parametrize(
    ("script", "tokens"),
    [
        ({ASSISTANT: [" dog"], " dog": [" dog"]}, 24),
        ({ASSISTANT: [" is"], " is": [" a"], " a": [" dog"], " dog": [" is"]}, 24),
    ],
)
def test_an_endless_loop_is_ended(tmp_path: Path, script: dict[str, list[str]], tokens: int) -> None:
    stream = talker(tmp_path, script).generate(HELLO, Generation(max_tokens=200))
    assert "".join(stream).endswith(" dog")
    assert (stream.ended, stream.usage.tokens["answer"]) == ("repetition", tokens)


@pytest.mark.parametrize(
    ("tokens", "loop"),
    [
        ([5] * 23, False),
        ([5] * 24, True),
        ([1, 2, 3, 4, 5, 6, 7, 8] * 3, False),
        ([0, *([1, 2, 3, 4, 5, 6, 7, 8] * 4)], True),
        ([*([1, 2] * 20), 3], False),
        (list(range(33)) * 4, False),
        ([], False),
    ],
)
def test_a_loop_is_the_same_tokens_again_and_again(tokens: list[int], loop: bool) -> None:
    assert is_loop(tokens) is loop


def test_an_answer_ends_at_its_length(sentence: Llm) -> None:
    stream = sentence.generate(HELLO, Generation(max_tokens=3))
    assert ("".join(stream), stream.ended, stream.usage.tokens["answer"]) == ("Lala is a", "length", 3)


def test_a_seed_makes_a_draw_repeatable(seeing: Llm) -> None:
    def draw(seed: int) -> str:
        return say(seeing, max_tokens=20, temperature=1.0, seed=seed)

    assert draw(1) == draw(1) != draw(2)
    assert say(seeing, max_tokens=20) == say(seeing, max_tokens=20)


def test_draws_follow_the_softmax() -> None:
    logits = 2 * np.log(np.array([0.6, 0.3, 0.1], np.float32))
    rng = np.random.default_rng(0)
    counts = np.bincount([next(ranked(logits, 2.0, rng)) for _ in range(4000)], minlength=3)
    np.testing.assert_allclose(counts / 4000, [0.6, 0.3, 0.1], atol=0.03)
    assert list(ranked(logits, 0.0, rng)) == [0, 1, 2]
    assert list(ranked(np.full(3, np.nan, np.float32), 0.0, rng)) == []


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"temperature": -0.1}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected max_tokens >= 1 and temperature >= 0"):
        Generation(**options)
