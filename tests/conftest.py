"""What several tests share: the tiny bundle, assistants in homes of their own, photos of coloured blobs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import talkers
from kinsight.assistant import Assistant, Lesson
from kinsight.bundle import Bundle, LlmPart, read_bundle
from kinsight.config import DeviceConfig, load_device
from kinsight.home import open_home
from kinsight.image import save
from kinsight.llm import Llm, load_llm
from kinsight_export.parts import LlmSpec
from scenes import HERE, THERE
from terminal import Terminal
from tiny import Blob, BlobPhoto, draw, make_bundle
from tiny_gguf import make_vision_pair

settings.register_profile("kinsight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kinsight")


def tiny_llm(folder: Path) -> LlmSpec:
    """A language model that says "Hello cat" to everything and sees nothing."""
    from tiny_gguf import ASSISTANT, END, make_text_gguf

    folder.mkdir(parents=True, exist_ok=True)
    file = make_text_gguf(folder / "text.gguf", {ASSISTANT: ["Hello"], "Hello": [" cat"], " cat": [END]})
    return LlmSpec(file, "nothing", 2048, 0, (), "Nothing sensible is to be expected.")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated bundle that sees coloured blobs, with a language model where there is llama-cpp-python."""
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(folder / "tiny", tiny_llm(folder / "llm") if find_spec("llama_cpp") else None)
    return folder / "tiny"


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    """The tiny bundle, read."""
    return read_bundle(tiny_bundle)


@pytest.fixture
def device() -> DeviceConfig:
    """Any computer, with one thread: tiny models are slower with more."""
    return replace(load_device("laptop-cpu"), threads=1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder that nobody has used yet."""
    return tmp_path / "home"


@pytest.fixture
def assistant(home: Path, bundle: Bundle, device: DeviceConfig) -> Iterator[Assistant]:
    """An assistant with the tiny bundle and an empty store."""
    with Assistant(open_home(home), bundle, device) as opened:
        yield opened


@pytest.fixture
def blob_photo(tmp_path: Path) -> BlobPhoto:
    """Draws blobs, (x0, y0, x1, y1) in pixels, on grey, and gives the path of the PNG."""

    def make(blobs: Sequence[Blob], size_wh: tuple[int, int] = (640, 640), name: str = "photo") -> Path:
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}-{len(list(folder.iterdir()))}.png"
        save(draw(blobs, size_wh), path)
        return path

    return make


@pytest.fixture(scope="session")
def family_store(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lala is red, Tom is blue, Ann is green; nobody is yellow."""
    folder = tmp_path_factory.mktemp("family")
    home = open_home(folder / "home")
    lessons = {
        "red": Lesson("Lala", "box", "Lala is five years old. She sleeps on the sofa. Her friend is Tom."),
        "blue": Lesson("Tom", "ball", "Tom is a cat."),
        "green": Lesson("Ann"),
    }
    with Assistant(home, read_bundle(tiny_bundle), load_device("laptop-cpu")) as teacher:
        for colour, lesson in lessons.items():
            save(draw([Blob(colour, HERE)]), folder / f"{colour}.png")
            teacher.remember(folder / f"{colour}.png", lesson)
    return home.store


@pytest.fixture
def living_with(
    home: Path, family_store: Path, bundle: Bundle, device: DeviceConfig
) -> Iterator[Callable[[LlmPart], Assistant]]:
    """An assistant that knows the family and has this language model."""
    opened: list[Assistant] = []

    def make(llm: LlmPart) -> Assistant:
        folder = open_home(home / str(len(opened)))
        shutil.copy(family_store, folder.store)
        opened.append(Assistant(folder, replace(bundle, llm=llm), device))
        return opened[-1]

    yield make
    for assistant in opened:
        assistant.close()


@pytest.fixture
def llm_part(bundle: Bundle) -> LlmPart:
    """Of the language model that talks nonsense."""
    assert bundle.llm is not None
    return bundle.llm


@pytest.fixture
def family(living_with: Callable[[LlmPart], Assistant], llm_part: LlmPart) -> Assistant:
    """An assistant that knows the family, with the language model that talks nonsense."""
    return living_with(llm_part)


@pytest.fixture
def with_lala(blob_photo: BlobPhoto) -> Path:
    """Lala at the bottom right, a stranger at the top left."""
    return blob_photo([Blob("red", THERE, "ball"), Blob("yellow", HERE)])


@pytest.fixture
def with_both(blob_photo: BlobPhoto) -> Path:
    """Lala at the bottom right, Tom at the top left."""
    return blob_photo([Blob("red", THERE), Blob("blue", HERE, "ball")])


@pytest.fixture
def strangers(blob_photo: BlobPhoto) -> Path:
    """Two whom nobody knows."""
    return blob_photo([Blob("yellow", HERE), Blob("pink", THERE, "ball")])


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny language model and its tiny picture encoder."""
    return make_vision_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def seeing(pair: tuple[Path, Path]) -> Iterator[Llm]:
    """The pair, loaded."""
    with load_llm(talkers.part(*pair, sees="photo+references"), talkers.device()) as llm:
        yield llm


@pytest.fixture
def kinsight(home: Path, tiny_bundle: Path, capfd: pytest.CaptureFixture[str]) -> Terminal:
    """The command line, on a home of its own and the tiny bundle."""
    return Terminal(home, tiny_bundle, capfd)


@pytest.fixture
def taught(assistant: Assistant, blob_photo: BlobPhoto) -> Assistant:
    """Lala is red, Tom is blue."""
    assistant.remember(
        blob_photo([Blob("red", (60, 200, 220, 420))]),
        Lesson("Lala", "box", "Lala loves the sea. Lala sleeps a lot."),
    )
    assistant.remember(blob_photo([Blob("blue", (420, 220, 580, 400))]), Lesson("Tom"))
    return assistant
