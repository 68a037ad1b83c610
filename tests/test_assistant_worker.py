"""The assistant with its language model in a process of its own: a kill ends one answer, and nothing else."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kinsight.assistant import Assistant, Lesson
from kinsight.bundle import pocket_folder, read_bundle
from kinsight.config import DeviceConfig
from kinsight.drawn.album import Album, Recipe, draw_album
from kinsight.errors import ModelError
from kinsight.home import open_home
from kinsight.image import decode, encode_jpeg
from kinsight.llm import Generation, Picture, Text, Turn, WorkerLlm
from kinsight.llm.worker import Worker
from kinsight.types import Photo, Pixels
from talkers import NEEDS_LLAMA_CPP
from terminal import Terminal

pytestmark = NEEDS_LLAMA_CPP


@pytest.fixture(scope="module")
def album() -> Album:
    return draw_album(3, Recipe(concepts=1, scenes=2))


@pytest.fixture
def apart(home: Path, device: DeviceConfig, album: Album) -> Iterator[Assistant]:
    """Knows one, with the built-in bundle."""
    bundle = read_bundle(pocket_folder() or Path())
    with Assistant(open_home(home), bundle, replace(device, memory_mb=4000), worker=True) as assistant:
        (pupil,) = album.pupils
        assistant.remember(photo(pupil.drawing.pixels), Lesson(pupil.name, info=pupil.info), region=0)
        yield assistant


def photo(pixels: Pixels) -> Photo:
    return decode(encode_jpeg(pixels), "drawn.jpg")


def contents(assistant: Assistant) -> dict[str, str]:
    """Of the store, byte by byte, and row by row."""
    store = assistant.home.store
    rows = repr([(concept.name, concept.info, concept.views) for concept in assistant.store.concepts()])
    return {"file": hashlib.sha256(store.read_bytes()).hexdigest(), "rows": rows}


def test_killed_in_the_middle_of_an_answer(apart: Assistant, album: Album) -> None:
    llm, scene = apart.llm, photo(album.queries[0].drawing.pixels)
    assert isinstance(llm, WorkerLlm)
    first = apart.ask("Who is in this photo?", scene).text
    before = contents(apart)
    long = {"type": "array", "items": {"enum": ["photo"]}, "minItems": 400}
    turns = [Turn("user", (Picture(scene.pixels), Text("Describe this photo.")))]
    stream = llm.generate(turns, Generation(1500, schema=long))
    next(stream)
    assert llm.process_id is not None
    os.kill(llm.process_id, signal.SIGKILL)
    with pytest.raises(ModelError, match=r"process was ended by signal 9: ask again: it is started anew$"):
        "".join(stream)
    assert contents(apart) == before
    assert apart.ask("Who is in this photo?", scene).text == first


def test_the_taught_are_encoded_before_they_are_asked_about(apart: Assistant, album: Album) -> None:
    (concept,) = apart.store.concepts()
    assert apart.prepare(concept) == 1
    assert apart.prepare(concept) == 0
    chat = apart.chat(photo(album.queries[1].drawing.pixels))
    chat.ask("What is in this photo?")
    assert apart.prepare(concept) == 0


def test_the_option_of_the_command_line(kinsight: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []
    really = WorkerLlm._started

    def noted(llm: WorkerLlm) -> Worker:
        started.append(really(llm))
        return started[-1]

    monkeypatch.setattr(WorkerLlm, "_started", noted)
    question = "What does Lala like?"
    here = kinsight("ask", question)
    assert not started
    apart = kinsight("ask", "--worker", question)
    assert [worker.process.returncode for worker in started] == [0]  # it ran, and ended with the assistant
    assert apart.code == here.code == 0
    assert apart.out == here.out
