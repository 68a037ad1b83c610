"""Chats with language models that talk sense, say nothing, or see: what is given, and what gives way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kinsight.assistant import Assistant
from kinsight.bundle import LlmPart
from kinsight.chat import LLM_PHOTO_LONGEST, Chat, for_llm
from kinsight.image import load
from kinsight.llm.vision import Source
from kinsight.store import Changes
from talkers import NEEDS_LLAMA_CPP, SENTENCE
from tiny import BlobPhoto
from tiny_gguf import ASSISTANT, END, make_text_gguf, make_vision_pair

pytestmark = NEEDS_LLAMA_CPP

LALA_THERE = "Lala is in the photo, at the bottom right."
Living = Callable[[LlmPart], Assistant]
Talker = Callable[[Mapping[str, Sequence[str]]], Assistant]


@pytest.fixture
def saying(living_with: Living, llm_part: LlmPart, tmp_path: Path) -> Talker:
    """With a language model that follows a script."""

    def make(script: Mapping[str, Sequence[str]]) -> Assistant:
        return living_with(replace(llm_part, file=make_text_gguf(tmp_path / "scripted.gguf", script)))

    return make


def test_a_good_answer_of_the_model_is_given(saying: Talker) -> None:
    """It says "Lala is a dog." to everything."""
    assistant = saying(SENTENCE)
    assistant.store.edit("Lala", Changes(info="Lala is a dog."))
    chat = assistant.chat()
    assert chat.ask("What is Lala?").text == "Lala is a dog."
    assert (chat.note, chat.plain) == ("", False)


def test_a_name_that_the_model_nearly_wrote_is_put_right(saying: Talker) -> None:
    """It says "Lala" of Lalla."""
    assistant = saying(SENTENCE)
    assistant.store.edit("Lala", Changes(name="Lalla", info="Lalla is a dog."))
    chat = assistant.chat()
    assert chat.ask("What is Lalla?").text == "Lalla is a dog."
    assert chat.note == "Lalla is spelt as it was taught: the model wrote Lala"
    assert not chat.plain


def test_a_model_may_not_name_who_is_not_there(saying: Talker, strangers: Path) -> None:
    assistant = saying(SENTENCE)
    assert "Lala" not in assistant.ask("Who is there?", strangers).text
    assert assistant.ask("Is Lala there?", strangers).text == "No, I don't see Lala in this photo."
    assert "Lala" not in assistant.ask("What is this?", strangers).text


def test_a_blind_model_may_not_make_anything_up(saying: Talker, with_lala: Path) -> None:
    chat = saying(SENTENCE).chat(with_lala)
    assert chat.ask("Is Lala there?").text == f"Yes, {LALA_THERE}"
    assert chat.note.endswith("it adds dog")


def test_a_model_that_says_nothing_gives_way_to_plain_words(saying: Talker, with_lala: Path) -> None:
    assistant = saying({ASSISTANT: [END]})
    assert assistant.ask("Hello?").text == "I don't know: nothing that I was told is about this."
    assert assistant.ask("Where is Lala?", with_lala).text == LALA_THERE
    assert assistant.ask("Who is Ann?").text == "I was told nothing about Ann yet."


def test_a_name_inside_a_free_name_does_not_get_in_its_way(saying: Talker, with_lala: Path) -> None:
    script = {
        ASSISTANT: [" Ann"],
        " Ann": [" Lee"],
        " Lee": [" is"],
        " is": [" a"],
        " a": [" dog"],
        " dog": [END],
    }
    assistant = saying(script)
    assistant.store.edit("Lala", Changes(name="Ann Lee", info="Ann Lee is a dog."))
    assert assistant.ask("What is Ann Lee?").text == "Ann Lee is a dog"
    assert assistant.ask("Who is Tom?").text == "Tom is a cat."


@pytest.mark.parametrize(
    ("wanted", "word", "given"),
    [
        ("Lala", "Lalandra", False),
        ("Ann", "Anne", False),
        ("Ann", "Ocean", True),
        ("Lalandra", "Lalandra", True),
        ("Anne", "Anne", True),
    ],
)
def test_a_word_in_place_of_a_forbidden_name_is_no_answer(
    saying: Talker, wanted: str, word: str, given: bool
) -> None:
    """Though it is nobody's, and no fact is there to hold it against; unless the model wants no other."""
    script = {
        ASSISTANT: list(dict.fromkeys([f" {wanted}", f" {word}"])),
        f" {word}": [" is"],
        " is": [" a"],
        " a": [" dog"],
        " dog": [END],
    }
    chat = saying(script).chat()
    answer = chat.ask("What is the sea?").text
    assert (answer == f"{word} is a dog") == given
    assert chat.note.endswith("" if given else f"it makes up {word}")


# A model that sees


@pytest.fixture
def seeing_part(llm_part: LlmPart, tmp_path: Path) -> LlmPart:
    file, mmproj = make_vision_pair(tmp_path)
    return replace(
        llm_part, file=file, mmproj=mmproj, sees="photo+references", max_references=1, image_max_tokens=16
    )


@pytest.fixture
def seeing(living_with: Living, seeing_part: LlmPart) -> Assistant:
    return living_with(seeing_part)


def saying_of(words: str) -> dict[str, list[str]]:
    """The script of a model that says this, word by word; each word only once."""
    tokens = [ASSISTANT, *words.split("|"), END]
    return {token: [follower] for token, follower in pairwise(tokens)}


@pytest.fixture
def seeing_says(
    living_with: Living, seeing_part: LlmPart, with_lala: Path, tmp_path: Path
) -> Callable[[str], Chat]:
    """A chat about a photo with a model that sees and says these words, whatever is asked."""

    def make(words: str) -> Chat:
        file = make_text_gguf(tmp_path / "says.gguf", saying_of(words))
        return living_with(replace(seeing_part, file=file)).chat(with_lala)

    return make


def test_a_model_that_sees_streams_what_no_fact_decides(seeing_says: Callable[[str], Chat]) -> None:
    chat = seeing_says(" The| wall| is| red|.| It| glows|!")
    pieces = list(chat.stream("What colour is the wall?"))
    assert pieces == ["The wall is red.", " It glows!"]
    assert chat.last.text == "The wall is red. It glows!"
    assert chat.last.timings_ms["encode"] > 0


def test_somebody_who_is_nobody_is_no_answer(seeing_says: Callable[[str], Chat]) -> None:
    chat = seeing_says(" Lusty| is| red|.")
    assert "Lusty" not in chat.ask("What colour is she?").text
    assert chat.note.endswith("it names Lusty, who is nobody")


def test_half_a_character_is_no_answer(seeing_says: Callable[[str], Chat]) -> None:
    chat = seeing_says(" red|<0xE8>| wall")
    assert chat.ask("What colour is the wall?").text == chat.last.text != ""
    assert chat.plain and chat.note.endswith("it holds half a character")


def test_a_model_that_sees_is_held_to_the_facts(seeing: Assistant, with_both: Path) -> None:
    assert seeing.ask("Where is Tom?", with_both).text == "Tom is in the photo, at the top left."
    assert seeing.ask("Is Ann there?", with_both).text == "No, I don't see Ann in this photo."


def test_references_are_shown_as_far_as_the_bundle_allows(
    living_with: Living, seeing_part: LlmPart, with_both: Path
) -> None:
    """A picture has 4 tokens; of two who are there none, one or both are shown."""
    parts = [replace(seeing_part, max_references=most) for most in (0, 1, 2, 3)]
    sizes = [living_with(part).ask("Who is there?", with_both).tokens["prompt"] for part in parts]
    assert 4 <= sizes[1] - sizes[0] == sizes[2] - sizes[1] <= 8
    assert sizes[3] == sizes[2]


def test_a_prompt_is_made_once_for_an_answer(
    seeing: Assistant, with_both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pictures are hashed each time, which takes a while on a small device."""
    hashed: list[str] = []
    really = Source.__init__

    def source(self: Source, *given: Any) -> None:
        really(self, *given)
        hashed.append(self.key)

    monkeypatch.setattr(Source, "__init__", source)
    chat = seeing.chat(with_both)
    for count in (2, 4):  # the photo, and one reference as the bundle allows
        chat.ask("Where is Tom?")
        assert len(hashed) == count


def test_the_photo_for_the_model_is_not_larger_than_needed(blob_photo: BlobPhoto) -> None:
    photo = load(blob_photo([], (3000, 1500)))
    assert for_llm(photo).shape == (LLM_PHOTO_LONGEST // 2, LLM_PHOTO_LONGEST, 3)
