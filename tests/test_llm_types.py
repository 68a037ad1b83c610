"""The same answers with caches and without, and the cost of pictures, on every type of model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra [train] is not installed")

from kinsight.bundle import LlmPart, pocket_folder, read_bundle
from kinsight.llm import Generation, Llm, Picture, Text, Turn, load_llm
from kinsight.types import Floats
from kinsight_export.gguf_file import converter, to_gguf, to_mmproj
from kinsight_export.mllm.vocabulary import PRETOKENIZER
from talkers import device, part, picture
from tiny_checkpoints import tiny_checkpoint

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
    folder = tmp_path_factory.mktemp(kind)
    checkpoint, tools = tiny_checkpoint(kind, folder / "checkpoint"), converter(Path("build/converter"))
    llm_file = to_gguf(checkpoint, folder / "llm.gguf", "f16", tools, PRETOKENIZER)
    made = part(llm_file, to_mmproj(checkpoint, folder / "mmproj.gguf", "f16", tools), "photo+references")
    return replace(made, image_max_tokens=PICTURE_TOKENS[kind])


@dataclass(frozen=True)
class Asked:
    """A conversation, and the same one with its pictures in another order."""

    turns: list[Turn]
    swapped: list[Turn] | None


def conversations(rng: np.random.Generator) -> Iterator[Asked]:
    """Photo and references in any order, notes of any length, one to three turns; and earlier ones again."""
    earlier: list[Asked] = []
    while True:
        if not earlier or rng.random() > 0.3:
            earlier.append(conversation(rng))
            yield earlier[-1]
        else:
            yield earlier[int(rng.integers(len(earlier)))]


def conversation(rng: np.random.Generator) -> Asked:
    seeds = [int(seed) for seed in rng.choice(6, int(rng.integers(0, 4)), replace=False)]
    notes = [f" Lala is a {'red ' * int(rng.integers(1, 5))}dog. " for _ in seeds]
    talk = [Turn("user", (Text("Where is Lala?"),)), Turn("assistant", (Text("I do not know."),))]
    more = [turn for _ in range(int(rng.integers(0, 3))) for turn in talk]
    question = Turn("user", (Text(("Where is Rex?", "Is this a cup?", "Who?")[int(rng.integers(3))]),))

    def asked(order: list[int]) -> list[Turn]:
        parts = [one for seed, note in zip(order, notes, strict=True) for one in (shown(seed), Text(note))]
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
    """So small that pictures and states are dropped all the time."""
    for blobs in (llm._pictures, llm._states):
        blobs._caps = blobs._caps[0] // 16, blobs._caps[1] // 4096


def test_the_same_answers_with_caches_and_without(described: LlmPart, tmp_path: Path) -> None:
    asked = conversations(np.random.default_rng(5))
    one_thread = device()
    differences, swaps, reused = [], [], 0
    with load_llm(described, one_thread) as fresh:
        for chapter in range(PROMPTS // REOPENED):
            with load_llm(described, one_thread, tmp_path / "cache") as kept:
                if chapter % 2:
                    small_caches(kept)
                for _, one in zip(range(REOPENED), asked, strict=False):
                    forget(fresh)
                    plain, cached = logits(fresh, one.turns)
                    assert cached == 0
                    found, cached = logits(kept, one.turns)
                    reused += cached > 1
                    differences.append(np.abs(found - plain).max())
                    if one.swapped:
                        forget(fresh)
                        swaps.append(np.abs(logits(fresh, one.swapped)[0] - plain).max())
    print(f"{len(differences)} prompts, {reused} reused, most different {max(differences):.4f}")
    print(f"swapped pictures: median {np.median(swaps):.3f}, least {min(swaps):.3f}")
    assert len(differences) >= 50 and reused >= 10 and len(swaps) >= 10
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
