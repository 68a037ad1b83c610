"""Too little memory for an answer: said before anything is loaded, and what is advised then does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kinsight.assistant import Assistant, Lesson
from kinsight.bundle import pocket_folder, read_bundle
from kinsight.config import DeviceConfig
from kinsight.drawn.album import Recipe, draw_album, write_album
from kinsight.foresight import ahead
from kinsight.home import open_home
from kinsight.llm.memory import _ROOM, MIB
from talkers import NEEDS_LLAMA_CPP
from terminal import ONE_THREAD

pytestmark = NEEDS_LLAMA_CPP
CASES = ["ask", "ask-without", "ask-worker", "ask-worker-without"]
QUESTION = "What are they doing there?"
TOLD = "What does she love?"
PROGRAM = """
import json, sys
from kinsight.cli import main

try:
    main(sys.argv[1:])
except SystemExit as left:
    loaded = [name for name in ("onnxruntime", "llama_cpp") if name in sys.modules]
    print(json.dumps({"code": left.code, "loaded": loaded}))
"""


@dataclass(frozen=True)
class Settings:
    """What a refusal may advise to change."""

    allowed: int  # MiB
    small: bool = False  # fewer bits for keys and values, and flash attention
    context: int | None = None  # tokens; None: as the bundle has it

    def advised(self, said: str) -> Settings:
        """As a refusal says, to the letter."""
        memory = re.search(r"set memory_mb = (\d+) in a copy of the device config one-thread and name", said)
        context = re.search(r"set context = (\d+) in the bundle's \[llm\]", said)
        small = 'set kv_type = "q8_0" and flash_attention = true in [llm] of a copy of' in said
        assert memory or context or small, said
        return Settings(
            int(memory[1]) if memory else self.allowed,
            small or self.small,
            int(context[1]) if context else self.context,
        )


LEAST = Settings(64)
"""Less a device config may not allow."""


@dataclass(frozen=True)
class Asker:
    """Calls `kinsight` in processes of their own, in a home where three are known."""

    home: Path
    photo: Path

    def __call__(self, settings: Settings, *words: str) -> tuple[dict[str, Any], str]:
        """Exit code and which engines were loaded; and the last line of standard error."""
        device = self.home.with_name("device.toml")
        text = ONE_THREAD.replace("4096", str(settings.allowed))
        shrunk = '[llm]\nkv_type = "q8_0"\nflash_attention = true\n' if settings.small else ""
        device.write_text(text + shrunk, encoding="utf-8")
        options = ["--home", self.home, "--bundle", self.bundle(settings.context), "--device", device]
        line = [sys.executable, "-c", PROGRAM, *options, *words]
        run = subprocess.run(line, input="", capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
        return found, run.stderr.splitlines()[-1]

    def bundle(self, context: int | None) -> Path:
        """The built-in one, or a copy with another context."""
        pocket = pocket_folder()
        assert pocket
        if context is None:
            return pocket
        copy = self.home.with_name(f"pocket-{context}")
        shutil.copytree(pocket, copy, dirs_exist_ok=True)
        text, changed = re.subn(
            r"(?m)^context = 2048$", f"context = {context}", (pocket / "bundle.toml").read_text()
        )
        assert changed == 1
        (copy / "bundle.toml").write_text(text)
        return copy


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Asker:
    folder = tmp_path_factory.mktemp("asker")
    album = draw_album(8, Recipe(concepts=3, scenes=1))
    taught, (photo,) = write_album(album, folder / "photos")
    bundle = read_bundle(pocket_folder())
    with Assistant(open_home(folder / "home"), bundle, DeviceConfig("test", (), 1, 4096)) as teacher:
        for pupil, picture in zip(album.pupils, taught, strict=True):
            teacher.remember(picture, Lesson(pupil.name, pupil.individual.kind, pupil.info), region=0)
    return Asker(folder / "home", photo)


def words(asker: Asker, case: str) -> list[str]:
    return {
        "ask": ["ask", str(asker.photo), QUESTION],
        "ask-without": ["ask", TOLD],
        "ask-worker": ["ask", "--worker", str(asker.photo), QUESTION],
        "ask-worker-without": ["ask", "--worker", TOLD],
        "caption": ["caption", str(asker.photo)],
        "chat": ["chat", str(asker.photo)],
    }[case]


@pytest.mark.parametrize(
    "case", ["ask", *(pytest.param(case, marks=pytest.mark.stress) for case in CASES[1:])]
)
def test_who_does_as_advised_is_answered(asker: Asker, case: str) -> None:
    refused, said = asker(LEAST, *words(asker, case))
    assert refused == {"code": 1, "loaded": []}
    assert re.search(r"would take \d+ MiB \(.*this process \d+.*\), but memory_mb .* is 64: ", said)
    assert ("what it loads first" in said) == ("without" not in case)
    assert ("the model's own process" in said) == ("worker" in case)
    answered, said = asker(LEAST.advised(said), *words(asker, case))
    assert answered["code"] == 0, said
    engines = {"onnxruntime": "without" not in case, "llama_cpp": "worker" not in case}
    assert answered["loaded"] == [name for name, here in engines.items() if here]


@pytest.mark.stress
@pytest.mark.parametrize(
    "case", ["ask", "ask-without", "ask-worker", "ask-worker-without", "caption", "chat"]
)
def test_whatever_is_allowed_the_advice_helps(asker: Asker, case: str) -> None:
    """Followed once, or twice where a process happens to hold more than before, by more than was left for it.

    Late, after what sees was loaded, is refused what lies between the least and the most that this may take.
    """
    bundle = read_bundle(pocket_folder())
    photo = None if case.endswith("without") else asker.photo
    between = ahead(bundle, photo, (), "worker" in case).spare + _ROOM
    step, late, twice = 8, 0, 0
    for settings in map(Settings, range(64, 400, step)):
        refused, said = asker(settings, *words(asker, case))
        if refused["code"] == 0:
            break
        late += bool(refused["loaded"])
        following = settings.advised(said)
        again, after = asker(following, *words(asker, case))
        if again["code"]:
            twice += 1
            again, after = asker(following.advised(after), *words(asker, case))
        assert again["code"] == 0, (said, after)
    print(f"{case}: answered with {settings.allowed}, refused late {late} times, advised twice {twice} times")
    assert settings.allowed > 64 and late <= between // (step * MIB) + 1
