"""What several tests share: the tiny bundle, an assistant in a home of its own, photos of coloured blobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from kinsight.assistant import Assistant
from kinsight.bundle import Bundle, read_bundle
from kinsight.config import DeviceConfig, load_device
from kinsight.home import open_home
from kinsight.image import save
from kinsight_export.parts import LlmSpec
from tiny import Blob, BlobPhoto, draw, make_bundle


def tiny_llm(folder: Path) -> LlmSpec:
    """A language model with seeded weights that talks nonsense and sees nothing."""
    from tiny_gguf import make_text_gguf

    folder.mkdir(parents=True, exist_ok=True)
    file = make_text_gguf(folder / "text.gguf", seed=3)
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
