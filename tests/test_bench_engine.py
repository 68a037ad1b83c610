"""The bench of the language model, with tiny models: whom it asks, what it tells, what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from kinsight.bench.engine import EngineBench, engine_lines
from kinsight.bundle import LlmPart, pocket_folder, read_bundle
from kinsight.errors import MissingPackage, ModelError
from kinsight.llm import Generation, Llm, Stream, Turn
from talkers import NEEDS_LLAMA_CPP, device, part, picture
from terminal import Terminal, fine

pytestmark = NEEDS_LLAMA_CPP
TYPES = ("idefics3", "gemma3", "qwen2_5_vl", "qwen3_vl", "lfm2_vl")
CAP = {"lfm2_vl": 96}  # LFM2 takes no picture for less
USUAL_CAP = 32
NEED_TORCHVISION = ("qwen2_5_vl", "qwen3_vl", "lfm2_vl")


@pytest.mark.skipif(find_spec("transformers") is not None, reason="this is about a device without it")
def test_transformers_are_asked_only_where_they_are(kinsight: Terminal, tmp_path: Path) -> None:
    said = kinsight("bench", "engine", "--bundle", "pocket", "--transformers", tmp_path)
    assert said.code == 1
    assert "transformers is not installed" in said.err and "pip install 'kinsight[export]'" in said.err


GOOD = {
    "first_question_ratio": 0.2,
    "second_question_ratio": 0.003,
    "new_process_ratio": 0.01,
    "decode_ratio": 0.99,
    "decode_named_ratio": 0.98,
    "memory_ratio": 1.03,
    "worker_memory_ratio": 0.9,
    "image_max_tokens": 64,
    "pictures": [(64, 64, 1, 64), (1600, 200, 2, 60)],
}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, ""),
        ({"first_question_ratio": 0.21}, "the first question by the handler's is 0.2100, not at most 0.2"),
        ({"second_question_ratio": 0.031}, "the second question by the handler's"),
        ({"new_process_ratio": 0.06}, "in a new process, beside its loading"),
        ({"new_process_ratio": float("nan")}, "in a new process, beside its loading"),
        ({"decode_ratio": 0.96}, "decoding by a bare loop's is 0.9600, not at least 0.97"),
        ({"decode_ratio": None}, "decoding by a bare loop's is nan"),
        ({"decode_named_ratio": 0.96}, "decoding without 10,000 names by a bare loop's is 0.9600, not at"),
        ({"worker_memory_ratio": 1.16}, "with the model in a worker is 1.1600, not at most 1.15"),
        ({"memory_ratio": 1.16}, "the memory taken is 1.1600, not at most 1.15"),
        ({"memory_ratio": 0.84}, "the memory taken is 0.8400, not at least 0.85"),
        (
            {"pictures": [(1600, 200, 2, 65)]},
            "a picture of 1600 x 200 takes 65 tokens in 2 encodes, not at most",
        ),
    ],
)
def test_check_fails_and_says_which_figure(
    kinsight: Terminal, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object], words: str
) -> None:
    result = {key: value for key, value in {**GOOD, **wrong}.items() if value is not None}
    monkeypatch.setattr("kinsight.bench.engine.EngineBench.run", lambda *_: result)
    monkeypatch.setattr("kinsight.bench.engine.engine_lines", lambda _: [])
    assert kinsight("bench", "engine", "--bundle", "pocket").code == 0
    said = kinsight("bench", "engine", "--bundle", "pocket", "--check")
    assert said.code == bool(words)
    assert words in said.err and said.err.count("not at") == bool(words)


@pytest.mark.parametrize("key", ["memory_ratio", "worker_memory_ratio"])
def test_the_memory_alone_is_held_to_its_lines(
    kinsight: Terminal, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    figures = {
        f"{prefix}memory_{what}": 100.0 for prefix in ("", "worker_") for what in ("told_mb", "peak_mb")
    }
    result = {**figures, "memory_ratio": 1.0, "worker_memory_ratio": 1.0}
    monkeypatch.setattr("kinsight.bench.engine.EngineBench.memory", lambda _: result)
    line = "bench", "engine", "--bundle", "pocket", "--memory", "--check"
    assert "memory of a question: 100 MiB told" in fine(kinsight(*line)).out
    for wrong in (1.2, 0.8):
        result[key] = wrong
        said = kinsight(*line)
        assert said.code == 1 and said.err.count("not at") == 1


def test_decoding_is_measured_with_a_crowd_of_names_and_without(
    seeing: Llm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinsight.bench.engine.QUESTIONS", ("Who?",))
    bench = EngineBench(read_bundle(pocket_folder()), device(), 1, lambda *_: None)
    asked: list[tuple[str, ...]] = []
    really = Llm.generate

    def generate(self: Llm, turns: list[Turn], options: Generation) -> Stream:
        asked.append(options.banned)
        return really(self, turns, options)

    monkeypatch.setattr(Llm, "generate", generate)
    found = bench._decode(seeing, None)
    assert min(found["decode_ratio"], found["decode_named_ratio"]) > 0
    assert {len(set(banned)) for banned in asked} == {0, 10_000}


@pytest.fixture(scope="module", params=TYPES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="the extra [train] is not installed")
    from tiny_checkpoints import tiny_checkpoint

    kind: str = request.param
    return tiny_checkpoint(kind, tmp_path_factory.mktemp("checkpoints") / kind)


@pytest.mark.train
def test_transformers_answer_on_every_type_within_the_cap(checkpoint: Path) -> None:
    from kinsight.bench.rivals import Opening, Question
    from kinsight.llm import Text, Turn
    from kinsight_export.mllm.rival import Rival

    cap = CAP.get(checkpoint.name, USUAL_CAP)
    if checkpoint.name in NEED_TORCHVISION and find_spec("torchvision") is None:
        with pytest.raises(MissingPackage, match="torchvision"):
            Rival(Opening(checkpoint, cap, threads=1))
        return
    rival = Rival(Opening(checkpoint, cap, threads=1))
    words = Text("Who is this?")
    without = rival.ask(Question([Turn("user", (words,))], 1)).tokens
    took = rival.ask(Question([Turn("user", (picture(1, (300, 400)), words))], 4))
    around = 4  # tokens before and behind a picture
    assert without < took.tokens <= without + cap + around
    assert took.first_ms > took.encode_ms > 0 and took.tokens_s > 0


@pytest.mark.train
def test_a_processor_of_any_size_of_picture_is_told_the_cap() -> None:
    transformers = pytest.importorskip("transformers", reason="the extra [train] is not installed")
    from kinsight_export.mllm.rival import cap

    images = transformers.Qwen2VLImageProcessor(patch_size=14, merge_size=2)
    pixels = picture(1, (600, 800)).pixels
    grids = [images(pixels, return_tensors="np")["image_grid_thw"].prod() // 4]
    cap(images, USUAL_CAP)
    grids.append(images(pixels, return_tensors="np")["image_grid_thw"].prod() // 4)
    assert grids[0] > USUAL_CAP >= grids[1] > USUAL_CAP // 2


@pytest.mark.train
@pytest.mark.parametrize("checkpoint", ["idefics3"], indirect=True)
def test_all_are_asked_in_one_run(checkpoint: Path, tmp_path: Path) -> None:
    bundle = replace(read_bundle(pocket_folder()), llm=_converted(checkpoint, tmp_path))
    bench = EngineBench(bundle, device(), 1, lambda *_: None)
    result = bench.run(tmp_path / "cache", checkpoint)
    for row in result["formats"].values():
        assert row["encodes"] == 1 and row["stock_prompt_tokens"] > row["prompt_tokens"] > 0
        for whose in ("stock", "transformers"):
            first, encode, prefill = (row[f"{whose}_{key}_ms"] for key in ("first", "encode", "prefill"))
            assert first == pytest.approx(encode + prefill) and min(encode, prefill) > 0
        assert row["transformers_first_ratio"] == pytest.approx(
            row["first_ms"] / row["transformers_first_ms"]
        )
    assert result["transformers_tokens_s"] > 0
    words = "\n".join(engine_lines(result))
    assert (
        "transformers, second question" in words and "a picture of 6000 x 4000: 1 encodes, 16 tokens" in words
    )


@pytest.mark.train
@pytest.mark.parametrize("checkpoint", ["idefics3"], indirect=True)
def test_a_checkpoint_that_cannot_be_used_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    from kinsight.bench.rivals import Checkpoint

    described = part(tmp_path / "llm.gguf", tmp_path / "mmproj.gguf", "photo+references")
    with pytest.raises(ModelError, match="holds no checkpoint"):
        Checkpoint(tmp_path, described, 1)
    with Checkpoint(checkpoint, described, 1) as rival:
        assert rival.dtype in ("float32", "bfloat16")
        rival._process.kill()
        with pytest.raises(ModelError, match="transformers ended"):
            rival.ask([])


def _converted(checkpoint: Path, folder: Path) -> LlmPart:
    from kinsight_export.gguf_file import converter, to_pair
    from kinsight_export.mllm.vocabulary import PRETOKENIZER

    llm, mmproj = folder / "llm.gguf", folder / "mmproj.gguf"
    to_pair(checkpoint, {"f16": mmproj}, llm, converter(Path("build/converter")), PRETOKENIZER)
    return replace(part(llm, mmproj, "photo+references"), context=4096)
