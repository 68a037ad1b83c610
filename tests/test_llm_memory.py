"""How much memory a model will take: told from its files, held to what it takes, refused if too much."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from kinsight.bench.memory import measured
from kinsight.bundle import LlmPart, pocket_folder, read_bundle
from kinsight.config import DeviceConfig
from kinsight.errors import ModelError
from kinsight.llm import Generation, Text, Turn, load_llm
from kinsight.llm.header import read_header
from kinsight.llm.memory import _ROOM, MIB, Beside, budget_of, check_memory, kept_bytes, resident_bytes
from kinsight.llm.native import library
from talkers import NEEDS_LLAMA_CPP, device, part
from tiny_gguf import make_text_gguf

pytestmark = NEEDS_LLAMA_CPP
WITHIN = 0.15


@pytest.fixture(scope="module")
def pocket() -> LlmPart:
    library()  # its own code is no part of what a model takes
    llm = read_bundle(pocket_folder()).llm
    assert llm is not None
    return llm


def allowing(mebibytes: int) -> DeviceConfig:
    return replace(device(), memory_mb=mebibytes)


def test_a_header_is_read_without_the_weights(tmp_path: Path, pocket: LlmPart) -> None:
    header = read_header(make_text_gguf(tmp_path / "llm.gguf"))
    assert header.number("embedding_length") == 64
    assert header.number("attention.head_count") == 2
    assert header.number("nothing", "block_count") == 1 and header.number("nothing", default=7) == 7
    assert header.tokens > 256
    assert header.bytes == (tmp_path / "llm.gguf").stat().st_size
    assert pocket.mmproj is not None
    assert read_header(pocket.mmproj).values["clip.projector_type"] == "gemma3"


def test_layers_may_differ(tmp_path: Path) -> None:
    """As in models of which some layers have no keys and values."""
    sizes = []
    for heads in ([2, 2, 2, 2], [2, 0, 0, 2]):
        writer = gguf.GGUFWriter(tmp_path / "llm.gguf", "lfm2")
        writer.add_block_count(4)
        writer.add_embedding_length(64)
        writer.add_head_count(2)
        writer.add_head_count_kv(heads)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        sizes.append(budget_of(part(tmp_path / "llm.gguf"), device()).parts["KV cache"])
    assert sizes[0] == 2 * sizes[1] == 1024 * 4 * 2 * (32 + 32) * 2


def test_too_much_is_refused_with_figures_and_the_nearest_choice(pocket: LlmPart) -> None:
    pocket = replace(pocket, context=16384)
    needed = budget_of(pocket, device()).total // MIB
    with pytest.raises(ModelError) as refused:
        load_llm(pocket, allowing(needed - 4))
    assert "llm.gguf would take" in refused.value.problem and "compute buffers" in refused.value.problem
    assert f"memory_mb of the device config test is {needed - 4}" in refused.value.problem
    assert refused.value.mend.startswith('set kv_type = "q8_0" and flash_attention = true')
    small = replace(allowing(needed - 4), kv_type="q8_0", flash_attention=True)
    check_memory(pocket, small)
    with pytest.raises(ModelError, match=r"set context = \d+ in the bundle's \[llm\]$"):
        check_memory(replace(pocket, context=1 << 16), small)
    copied = "in a copy of the device config test and name that with --device"
    with pytest.raises(ModelError, match=rf"use a smaller bundle, or set memory_mb = \d+ {copied}$"):
        check_memory(pocket, allowing(64))


def test_what_is_advised_has_room_to_spare(pocket: LlmPart) -> None:
    """In whole steps; and no setting is advised that fits only if nothing comes beside it."""
    told = budget_of(pocket, device()).total
    for spare in (0, 10 * MIB, 50 * MIB):
        with pytest.raises(ModelError) as refused:
            check_memory(pocket, allowing(64), Beside(spare=spare))
        found = re.search(r"set memory_mb = (\d+)", refused.value.mend)
        assert found and int(found[1]) % 16 == 0
        assert _ROOM <= int(found[1]) * MIB - told - spare < _ROOM + 17 * MIB
    long, small = replace(pocket, context=16384), replace(device(), kv_type="q8_0", flash_attention=True)
    told, shrunk = (budget_of(long, each).total for each in (device(), small))
    tight, saved = allowing(told // MIB - 4), told - shrunk - 4 * MIB
    for spare, shrinks in ((0, True), (saved - _ROOM - 2 * MIB, True), (saved - _ROOM + 2 * MIB, False)):
        with pytest.raises(ModelError) as refused:
            check_memory(long, tight, Beside(spare=spare))
        assert refused.value.mend.startswith("set kv_type") == shrinks


def test_too_little_by_less_than_one_is_said_as_too_little(
    pocket: LlmPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = resident_bytes()
    monkeypatch.setattr("kinsight.llm.memory.resident_bytes", lambda: here)
    told = budget_of(pocket, device()).total
    short = -told % MIB or MIB
    beside = Beside(coming=short + 1)  # by a byte more than a whole number
    allowed = (told + short) // MIB
    with pytest.raises(ModelError, match=rf"would take {allowed + 1} MiB .* is {allowed}: "):
        check_memory(pocket, allowing(allowed), beside)


def test_it_is_refused_before_anything_is_loaded(pocket: LlmPart) -> None:
    huge = replace(pocket, context=1 << 20)  # 3 GiB of keys and values, of six layers
    before = resident_bytes()
    with pytest.raises(ModelError, match="KV cache 3072"):
        load_llm(huge, device())
    assert resident_bytes() - before < 4 * MIB


ASK = """
import json, sys
from pathlib import Path
import numpy as np
from kinsight.bundle import read_bundle
from kinsight.config import DeviceConfig
from kinsight.llm import Generation, Picture, Text, Turn, load_llm

part = read_bundle(Path(sys.argv[1])).llm
with load_llm(part, DeviceConfig("test", (), 1, 4096)) as llm:
    for seed in range(int(sys.argv[2])):
        draw = np.random.default_rng(seed)
        pictures = [Picture(draw.integers(0, 256, (480, 640, 3), np.uint8)) for _ in range(4)]
        words = Text(" Lala is a dog who loves the sea." * int(sys.argv[3]))
        stream = llm.generate([Turn("user", (*pictures[:3], words, pictures[3]))], Generation(max_tokens=8))
        "".join(stream)
    held = llm.memory()
print(json.dumps({"told": held.told_bytes, "peak": held.peak_bytes, "tokens": stream.usage.tokens["prompt"]}))
"""


@pytest.mark.stress
@pytest.mark.parametrize("worker", [False, True])
def test_a_real_question_takes_what_was_told(worker: bool) -> None:
    """Python, detector, embedder and who asks are in it; what they leave no room for is refused."""
    bundle = read_bundle(pocket_folder())
    held = measured(bundle, device(), 1, worker)
    print(f"told {held.told_bytes / MIB:.1f} MiB, at most {held.peak_bytes / MIB:.1f}")
    assert held.told_bytes == pytest.approx(held.peak_bytes, rel=WITHIN)
    allowed = held.told_bytes // MIB - 15  # less than detector and embedder take
    words = rf"would take \d+ MiB \(.*this process \d+, .* is {allowed}: "
    with pytest.raises(ModelError, match=words) as refused:
        measured(bundle, allowing(allowed), 1, worker)
    assert refused.value.mend.startswith(("set ", "use a smaller bundle, or set memory_mb = "))


def test_a_state_that_is_too_large_to_be_kept_is_never_made(
    pocket: LlmPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (Text("Lala is a dog who loves the sea.", kept=True), Text("Where is she?"))
    with load_llm(pocket, device()) as llm:
        made: list[int] = []
        really = llm._model.state
        monkeypatch.setattr(llm._model, "state", lambda: made.append(llm._model.state_bytes) or really())
        answers = []
        for most in (1 << 20, 1 << 10):
            llm._states.clear()
            llm._context.clear()
            llm._states._caps = most, most
            answers.append("".join(llm.generate([Turn("user", words)], Generation(max_tokens=8))))
        assert len(made) == 1 and 1 << 10 < made[0] < 1 << 20
        assert answers[0] == answers[1]


def test_the_states_that_are_kept_are_in_the_budget(pocket: LlmPart) -> None:
    """Of any context: half of what the weights allow, or all that there is room for."""
    for context in (2048, 65536):
        longer = replace(pocket, context=context)
        budget = budget_of(longer, device())
        assert sum(kept_bytes(longer, device())) == budget.parts["kept pictures and states"]
        assert kept_bytes(longer, device())[1] <= min(budget.parts["KV cache"], 64 * MIB)


@pytest.mark.parametrize(
    ("questions", "words", "share"), [(10, 20, 0.1), pytest.param(2, 130, 0.9, marks=pytest.mark.stress)]
)
def test_what_is_told_is_what_it_takes(pocket: LlmPart, questions: int, words: int, share: float) -> None:
    """Once the caches are full, with prompts as they are most often, and with a full context."""
    command = [sys.executable, "-c", ASK, str(pocket.file.parent), str(questions), str(words)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    print(f"told {found['told'] / MIB:.1f} MiB, at most {found['peak'] / MIB:.1f}, {found['tokens']} tokens")
    assert found["tokens"] > share * pocket.context
    assert found["told"] == pytest.approx(found["peak"], rel=WITHIN)
