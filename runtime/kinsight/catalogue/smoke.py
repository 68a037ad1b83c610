"""Tries an installed bundle: every model runs once, and the language model answers its smoke question."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinsight.assistant import Assistant, Lesson
from kinsight.bundle import Bundle
from kinsight.config import DeviceConfig
from kinsight.errors import KinsightError, MissingPackage
from kinsight.home import open_home
from kinsight.image import load, save
from kinsight.types import Box, Pixels

NAME = "Momo"
_SIDE = 512  # pixels
_WHOLE: Box = (0.0, 0.0, _SIDE, _SIDE)
_COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220)}
_SHORT = 24  # tokens


@dataclass(frozen=True)
class Trial:
    """What one part did."""

    part: str
    state: str  # "well", "failed" or "skipped"
    words: str


def try_bundle(bundle: Bundle, device: DeviceConfig) -> Iterator[Trial]:
    """Every part in turn. Nothing of the user's is touched: a home of its own is thrown away afterwards.

    The language model runs in a process of its own, so that one that crashes is said to have failed.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        Assistant(open_home(Path(scratch) / "home"), bundle, device, worker=True) as assistant,
    ):
        picture = Path(scratch) / "momo.png"
        save(_scene(), picture)
        trials: dict[str, Callable[[], str]] = {
            "detector": lambda: _detect(assistant, picture),
            "embedder": lambda: _embed(assistant),
            "recognition": lambda: _recognise(assistant, picture),
        }
        if bundle.llm:
            trials["language model"] = lambda: _ask(assistant, picture)
            if bundle.llm.sees != "nothing" and bundle.world == "photos":
                trials["its eyes"] = lambda: _see(assistant)
        for part, trial in trials.items():
            yield _outcome(part, trial)


class _Failure(Exception):
    """A part that runs and does not do what it should."""


def _outcome(part: str, trial: Callable[[], str]) -> Trial:
    try:
        return Trial(part, "well", trial())
    except MissingPackage as error:
        return Trial(part, "skipped", str(error))
    except (KinsightError, _Failure) as error:
        return Trial(part, "failed", str(error))


def _detect(assistant: Assistant, picture: Path) -> str:
    regions = assistant.detector.detect(load(picture).pixels)
    return f"runs on {assistant.detector.session.reason}, and finds {len(regions)} things in a drawing"


def _embed(assistant: Assistant) -> str:
    """One picture is nearer to its like than to another one, and a text tower tells texts apart."""
    red, blue = (_plain(rgb) for rgb in _COLOURS.values())
    vectors = assistant.embedder.images([red, red // 2 + 60, blue])
    like, unlike = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    if not like > unlike:
        raise _Failure(f"a lighter red is no nearer to red ({like:.2f}) than blue is ({unlike:.2f})")
    if assistant.bundle.embedder.text:
        one, two = assistant.embedder.texts(["a red mug", "two dogs at night"])
        if float(one @ two) > 0.999:
            raise _Failure("its text tower gives the same vector for different texts")
    return f"red and a lighter red {like:.2f} alike, red and blue {unlike:.2f}"


def _recognise(assistant: Assistant, picture: Path) -> str:
    """Somebody is taught from a picture, and looked for on the same one."""
    assistant.remember(picture, Lesson(NAME, "toy", f"{NAME} is a toy that squeaks."), box=_WHOLE)
    if not _named(assistant, picture):
        raise _Failure(f"{NAME}, taught from a picture, is not even maybe recognised on the same one")
    return f"{NAME}, taught from a picture, is recognised on the same one"


def _named(assistant: Assistant, picture: Path) -> bool:
    scene = assistant.look(picture)
    return bool(scene.accepted() or scene.unsure())


def _ask(assistant: Assistant, picture: Path) -> str:
    """The smoke question; about what was told, where the picture is not recognised."""
    there = _named(assistant, picture)
    question = "Who is in this photo?" if there else f"What is {NAME}?"
    llm = assistant.bundle.llm
    wanted = f"what its bundle asks for: {llm.smoke}" if llm else ""
    chat = assistant.chat(picture if there else None)
    answer = chat.ask(question)
    if chat.plain:
        raise _Failure(f"{question!r} got no answer of its own that holds ({chat.note}); {wanted}")
    if NAME not in answer.text:
        raise _Failure(f"{question!r} got {answer.text!r}, without the name {NAME}; {wanted}")
    return f"{question} {answer.text}"


def _see(assistant: Assistant) -> str:
    """Two plain pictures, told apart by nothing but what is seen."""
    from kinsight.llm import Generation, Picture, Text, Turn

    said = {}
    for colour, rgb in _COLOURS.items():
        parts = (Picture(_plain(rgb)), Text("What colour is this picture? Answer with one word."))
        words = assistant.llm.generate([Turn("user", parts)], Generation(max_tokens=_SHORT))
        said[colour] = "".join(words).strip()
    if wrong := wrong_colours(said):
        raise _Failure(f"it calls a picture that is all {' and one that is all '.join(wrong)}")
    return ", ".join(f"{colour}: {answer}" for colour, answer in said.items())


def wrong_colours(said: Mapping[str, str]) -> list[str]:
    """Of the answers about a picture of each colour, those that do not name it, or name another as well."""
    named = {colour: {each for each in said if each in answer.lower()} for colour, answer in said.items()}
    return [f"{colour} {said[colour]!r}" for colour, names in named.items() if names != {colour}]


def _plain(rgb: tuple[int, int, int]) -> Pixels:
    """uint8 (256, 256, 3): all of one colour."""
    return np.full((256, 256, 3), rgb, np.uint8)


def _scene() -> Pixels:
    """uint8 (512, 512, 3): a red square with a yellow middle that nearly fills a ramp of greens."""
    y, x = np.mgrid[0:_SIDE, 0:_SIDE]
    pixels = np.stack([x // 8 + 60, y // 8 + 120, x // 16 + 70], axis=2).astype(np.uint8)
    pixels[40:-40, 40:-40] = _COLOURS["red"]
    pixels[180:-180, 180:-180] = (240, 210, 40)
    return pixels
