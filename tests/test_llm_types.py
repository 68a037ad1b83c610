"""The same answers with caches and without, and the cost of pictures, on every type of model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

from kinsight.bundle import LlmPart, pocket_folder, read_bundle
from kinsight.llm import Generation, Llm, Picture, Text, Turn, load_llm
from kinsight.llm.native import library
from kinsight.types import Floats
from kinsight_export.gguf_file import converter, to_gguf, to_mmproj
from kinsight_export.mllm.vocabulary import PRETOKENIZER
from talkers import device, part, picture
from tiny_checkpoints import TINY, WINDOW, tiny_checkpoint

pytestmark = pytest.mark.train
TYPES = ("idefics3", "gemma3", "qwen2_5_vl", "lfm2_vl")
PICTURE_TOKENS = {
    "idefics3": 16,
    "gemma3": 16,
    "qwen2_5_vl": 32,
    "lfm2_vl": 96,
}  # LFM2 takes no picture for less
MOST_DIFFERENCE, LEAST_SWAPPED = 0.05, 0.1
PROMPTS, REOPENED = 56, 14
SIDES = [(64, 64), (64, 96), (200, 48), (300, 400)]


@pytest.fixture(scope="module", params=[*TYPES, "pocket"])
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LlmPart:
    kind: str = request.param
    if kind == "pocket":
        llm = read_bundle(pocket_folder()).llm
        assert llm is not None
        return llm
    return converted(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> LlmPart:
    """Gemma 3 with a sliding window that is left by most prompts."""
    return converted("gemma3_window", tmp_path_factory.mktemp("window"))


def converted(kind: str, folder: Path) -> LlmPart:
    checkpoint, tools = tiny_checkpoint(kind, folder / "checkpoint"), converter(Path("build/converter"))
    llm_file = to_gguf(checkpoint, folder / "llm.gguf", "f16", tools, PRETOKENIZER)
    made = part(llm_file, to_mmproj(checkpoint, folder / "mmproj.gguf", "f16", tools), "photo+references")
    return replace(made, image_max_tokens=PICTURE_TOKENS[TINY[kind].kind])


@dataclass(frozen=True)
class Asked:
    """A conversation, and the same one with its pictures in another order."""

    turns: list[Turn]
    swapped: list[Turn] | None


def conversations(rng: np.random.Generator, longer: int = 1) -> Iterator[Asked]:
    """Photo and references in any order, notes of any length, one to three turns; and earlier ones again."""
    earlier: list[Asked] = []
    while True:
        if not earlier or rng.random() > 0.5:
            earlier.append(conversation(rng, longer))
            yield earlier[-1]
        else:
            yield earlier[int(rng.integers(len(earlier)))]


def conversation(rng: np.random.Generator, longer: int) -> Asked:
    seeds = [int(seed) for seed in rng.choice(6, int(rng.integers(0, 4)), replace=False)]
    notes = [f" Lala is a {'red ' * longer * int(rng.integers(1, 5))}dog. " for _ in seeds]
    kept = rng.random() < 0.5  # the state after the last note, and not after the last picture
    talk = [Turn("user", (Text("Where is Lala?"),)), Turn("assistant", (Text("I do not know."),))]
    more = [turn for _ in range(int(rng.integers(0, 3))) for turn in talk]
    question = Turn("user", (Text(("Where is Rex?", "Is this a cup?", "Who?")[int(rng.integers(3))]),))

    def asked(order: list[int]) -> list[Turn]:
        texts = [Text(note, kept=kept and note is notes[-1]) for note in notes]
        parts = [one for seed, note in zip(order, texts, strict=True) for one in (shown(seed), note)]
        opened = Turn("user", (*parts, Text("Who is this?")))
        return [opened, Turn("assistant", (Text("This is Lala."),)), *more, question]

    return Asked(asked(seeds), asked(seeds[::-1]) if len(seeds) > 1 else None)


def shown(seed: int) -> Picture:
    return picture(seed, SIDES[seed % len(SIDES)])


def logits(llm: Llm, turns: list[Turn]) -> tuple[Floats, int]:
    """float32 (vocabulary,) after a prompt, and how many of its tokens were there already."""
    stream = llm.generate(turns, Generation(max_tokens=1))
    next(stream, "")
    found = np.array(llm._model.logits())
    stream.close()
    return found, stream.usage.tokens["cached"]


def forget(llm: Llm) -> None:
    llm._context.clear()
    llm._states.clear()
    llm._pictures.clear()


def small_caches(llm: Llm) -> None:
    """So small that pictures and states are dropped all the time, in memory and on the disk."""
    picture = (llm.part.image_max_tokens or 0) * llm._model.embedding_width * 4
    for blobs, memory in ((llm._pictures, 2 * picture), (llm._states, llm._states._caps[0] // 4)):
        blobs._caps = memory, 3 * memory // 2


class Watched:
    """Counts what a model puts back, and what its caches drop."""

    def __init__(self, llm: Llm, patch: pytest.MonkeyPatch) -> None:
        self.counts = dict.fromkeys(("restored", "dropped", "dropped on disk"), 0)
        self._caches = llm._pictures, llm._states
        really = llm._model.set_state

        def set_state(state: bytes | bytearray) -> bool:
            done = really(state)
            self.counts["restored"] += done
            return done

        patch.setattr(llm._model, "set_state", set_state)
        self._before = self._held()

    def look(self) -> None:
        """What is gone since the last look."""
        now = self._held()
        for name, before, after in zip(("dropped", "dropped on disk"), self._before, now, strict=True):
            self.counts[name] += len(before - after)
        self._before = now

    def _held(self) -> tuple[set[str], set[str]]:
        files = {str(file) for blobs in self._caches for file in blobs._files()}
        return {key for blobs in self._caches for key in blobs._kept}, files


def test_the_same_answers_with_caches_and_without(
    described: LlmPart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_answers(described, conversations(np.random.default_rng(5)), tmp_path, monkeypatch)


@pytest.mark.parametrize("whole", [True, False])
def test_the_same_answers_beyond_a_sliding_window(
    windowed: LlmPart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """With memory for all that was read in every layer, as llama.cpp has it, and for the window only."""
    llama = library().llama
    defaults = llama.llama_context_default_params

    def params() -> Any:
        made = defaults()
        made.swa_full = whole
        return made

    monkeypatch.setattr(llama, "llama_context_default_params", params)
    with load_llm(windowed, device()) as llm:
        assert llama.llama_model_n_swa(llm._model.handle) == WINDOW
    same_answers(windowed, conversations(np.random.default_rng(5), 20), tmp_path, monkeypatch)


def test_that_window_is_left(windowed: LlmPart, tmp_path: Path) -> None:
    """The same weights without it answer otherwise, but for prompts that are no longer than it."""
    short, long = [Turn("user", (Text("Who?"),))], [Turn("user", (Text("Lala is a red dog. " * 20),))]
    wide = converted("gemma3_wide", tmp_path)
    with load_llm(windowed, device()) as narrow, load_llm(wide, device()) as other:
        assert narrow.count(short) < WINDOW < narrow.count(long)
        apart = [np.abs(logits(narrow, turns)[0] - logits(other, turns)[0]).max() for turns in (short, long)]
    assert apart[0] <= MOST_DIFFERENCE and apart[1] > LEAST_SWAPPED


def same_answers(
    described: LlmPart, asked: Iterator[Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_thread, happened = device(), Counter[str]()
    differences, swaps, reused = [], [], 0
    with load_llm(described, one_thread) as fresh:
        for chapter in range(PROMPTS // REOPENED):
            with load_llm(described, one_thread, tmp_path / "cache") as kept:
                if chapter % 2:
                    small_caches(kept)
                watched = Watched(kept, monkeypatch)
                for _, one in zip(range(REOPENED), asked, strict=False):
                    forget(fresh)
                    plain, cached = logits(fresh, one.turns)
                    assert cached == 0
                    found, cached = logits(kept, one.turns)
                    watched.look()
                    reused += cached > 1
                    differences.append(np.abs(found - plain).max())
                    if one.swapped:
                        forget(fresh)
                        swaps.append(np.abs(logits(fresh, one.swapped)[0] - plain).max())
                happened.update(watched.counts)
    print(dict(happened))
    print(f"{len(differences)} prompts, {reused} reused, most different {max(differences):.4f}")
    print(f"swapped pictures: median {np.median(swaps):.3f}, least {min(swaps):.3f}")
    assert len(differences) >= 50 and reused >= 10 and len(swaps) >= 10
    assert all(happened[name] >= 5 for name in ("restored", "dropped", "dropped on disk"))
    assert max(differences) <= MOST_DIFFERENCE
    assert np.median(swaps) > LEAST_SWAPPED


LEAST, MOST = (64, 64), (6000, 4000)
WHOLE_RANGE = [LEAST, (64, 640), (240, 320), (1000, 90), (1536, 2048), (3000, 4000), MOST]
"""Height and width, from 64 pixels to 24 megapixels."""


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_picture_costs_more_than_the_bundle_allows(described: LlmPart, most: int) -> None:
    """At every allowance; what is printed is what is read."""
    allowed = (described.image_max_tokens or 0) * most
    with load_llm(replace(described, image_max_tokens=allowed, context=4096), device()) as llm:
        for shape in WHOLE_RANGE:
            cost = llm.cost(picture(1, shape))
            print(f"{shape[1]} x {shape[0]}: {cost.encodes} encodes, {cost.tokens} tokens of {allowed}")
            assert 0 < cost.tokens <= allowed and 1 <= cost.encodes <= 1 + cost.tokens // 16
        seen = llm.generate([Turn("user", (picture(1, (240, 320)), Text("Who?")))], Generation(max_tokens=1))
        "".join(seen)
        assert seen.usage.encodes == llm.cost(picture(1, (240, 320))).encodes
