"""GGUF files by llama.cpp's own converter: they run, and say what the model says in torch."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")
pytest.importorskip("llama_cpp")

from kinsight.bundle import LlmPart
from kinsight.bundle.verify import sha256_of
from kinsight.config import DeviceConfig
from kinsight.errors import ModelError
from kinsight.llm import Generation, Picture, Text, Turn, load_llm
from kinsight_export.gguf_file import converter, quantise, to_gguf, to_mmproj, unpack
from kinsight_export.mllm.device import Device
from kinsight_train.mllm.model import Mllm, save_hf
from kinsight_train.mllm.parity import mllm_parity, swapped
from kinsight_train.mllm.picture import preprocess
from kinsight_train.mllm.tokenizer import MllmTokenizer
from tiny_mllm import ANSWERS, SHAPE, asked, make_tokenizer, taught

pytestmark = pytest.mark.train

CACHE = Path(__file__).parents[1] / "build" / "converter"
ONE_THREAD = DeviceConfig("test", (), 1, 4096)
ODD = (
    "Lala is a dog.",
    " two  spaces ",
    "a\n\nb\n",
    "日本語",
    "😀 ok",
    "<end_of_turn><bos><|user|><start_of_image><image_soft_token>",
    "<__media__> <0x0A>",
    "e\u0301\t\r\n\u200b\ufeff\u00a0\u2581x",
    "1234",
)


@dataclass(frozen=True)
class Made:
    """A taught model and its files."""

    model: Mllm
    tokenizer: MllmTokenizer
    llm: Path
    mmproj: Path

    def part(self, file: Path | None = None) -> LlmPart:
        stop = ("<end_of_turn>",)
        tokens = SHAPE.picture_tokens
        return LlmPart(
            file or self.llm, "", self.mmproj, None, "photo+references", SHAPE.context, 3, tokens, stop, ""
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    if not CACHE.is_dir():
        pytest.skip("build/converter is empty: kinsight_export.gguf_file.converter fills it")
    folder, tools = tmp_path_factory.mktemp("gguf"), converter(CACHE)
    tokenizer = make_tokenizer(folder)
    model = taught(tokenizer)
    checkpoint = save_hf(model, tokenizer, folder / "checkpoint")
    llm = to_gguf(checkpoint, folder / "llm.gguf", "f32", tools)
    return Made(model, tokenizer, llm, to_mmproj(checkpoint, folder / "mmproj.gguf", "f32", tools))


@pytest.fixture(scope="module")
def device(made: Made) -> Iterator[Device]:
    opened = Device(made.part(), ONE_THREAD)
    yield opened
    opened.close()


def waves(seed: int, shape: tuple[int, int]) -> Picture:
    """A smooth picture, (height, width)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]][..., None]
    values = 127 + 100 * np.sin(rows / rng.uniform(3, 30, 3) + columns / rng.uniform(3, 30, 3))
    return Picture(np.clip(values, 0, 255).astype(np.uint8))


def question(number: int, text: str) -> list[Turn]:
    """Two pictures and an odd text."""
    seen = (Text("Photo:"), waves(number, (37, 90)), Text(" Lala:\n"), waves(number + 50, (61, 40)))
    return [Turn("system", (Text("Answer."),)), Turn("user", (*seen, Text(text), Text("Who?")))]


def test_llama_cpp_says_what_torch_says(made: Made, device: Device) -> None:
    prompts = [question(number, text) for number, text in enumerate(ODD)]
    parity = mllm_parity(made.model, made.tokenizer, device, prompts)
    assert parity.same_tokens == parity.same_top == parity.prompts == len(ODD)
    assert parity.largest_difference < 0.01 * parity.spread
    assert parity.swapped_difference > 10 * parity.largest_difference


def test_a_conversation_is_read_as_the_same_tokens(made: Made, device: Device) -> None:
    turns = [*question(1, "Hello"), Turn("assistant", (Text("Hi."),)), Turn("user", (Text("Where?"),))]
    assert made.tokenizer.prompt(turns) == device.tokens(turns, made.tokenizer.picture)


@pytest.mark.parametrize("shape", [(32, 32), (33, 7), (97, 131), (240, 320), (1, 1), (31, 32)])
def test_pictures_are_prepared_and_encoded_alike(made: Made, device: Device, shape: tuple[int, int]) -> None:
    picture = waves(3, shape)
    theirs = device.embeddings(picture)
    with torch.no_grad():
        pixels = preprocess(picture.pixels, SHAPE.picture_px, SHAPE.picture_tokens)
        ours = made.model.see(torch.from_numpy(pixels)[None])[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_a_quantised_file_says_in_the_product_what_was_learnt(made: Made, tmp_path: Path) -> None:
    small = quantise(made.llm, tmp_path / "small.gguf", "Q8_0")
    assert small.stat().st_size < made.llm.stat().st_size / 2
    with load_llm(made.part(small), ONE_THREAD) as llm:
        for colour, answer in ANSWERS.items():
            assert llm.count(asked(colour)) == len(made.tokenizer.prompt(asked(colour)))
            stream = llm.generate(asked(colour), Generation(max_tokens=32))
            assert "".join(stream) == answer
            assert stream.ended == "stop"


def test_a_prompt_with_one_picture_has_no_control() -> None:
    assert swapped([Turn("user", (waves(1, (4, 4)), Text("?")))]) is None


def test_what_cannot_be_converted_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no checkpoint"):
        to_gguf(tmp_path, tmp_path / "out.gguf", "f32", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "convert_hf_to_gguf.py").write_text("raise SystemExit('no architecture')")
    with pytest.raises(ModelError, match="no architecture"):
        to_mmproj(tmp_path, tmp_path / "out.gguf", "f32", tmp_path)
    with pytest.raises(ModelError, match="cannot be quantised"):
        quantise(tmp_path / "config.json", tmp_path / "out.gguf", "Q8_0")


def archive_of(folder: Path, names: tuple[str, ...], kind: bytes = tarfile.REGTYPE) -> Path:
    """A source distribution that holds these members."""
    path = folder / "source.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(f"llama_cpp_python-0/{name}")
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = 2 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"ok"))
    return path


def test_only_the_converter_is_unpacked(tmp_path: Path) -> None:
    inside = "vendor/llama.cpp/"
    wanted = (f"{inside}convert_hf_to_gguf.py", f"{inside}conversion/base.py", f"{inside}gguf-py/gguf/a.py")
    others = (f"{inside}src/llama.cpp", f"{inside}conversion/../../../../escaped", "setup.py")
    archive = archive_of(tmp_path, (*wanted, *others))
    unpack(archive, tmp_path / "out", sha256_of(archive))
    out = tmp_path / "out"
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {"conversion/base.py", "convert_hf_to_gguf.py", "gguf-py/gguf/a.py"}
    assert not (tmp_path / "escaped").exists()


def test_links_in_an_archive_are_left_out(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, ("vendor/llama.cpp/conversion/base.py",), tarfile.SYMTYPE)
    unpack(archive, tmp_path / "out", sha256_of(archive))
    assert not (tmp_path / "out").exists()


def test_another_archive_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not what was pinned"):
        unpack(archive_of(tmp_path, ("setup.py",)), tmp_path / "out")
