"""The install pages: every command of ours is one, and what is installed is what the project asks for."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from house import ROOT
from kinsight.config import device_names
from kinsight.doctor.packages import BUILD_FLAGS, PACKAGES
from test_readme import BLOCK, PROGRAMS, understood

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = ROOT / "docs" / "install"
PAGES = sorted(FOLDER.glob("*.md"))
LLAMA = next(package.requirement for package in PACKAGES if package.module == "llama_cpp")


def lines(page: Path) -> list[str]:
    return [
        line
        for kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if kind == "sh"
        for line in text.splitlines()
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    ours = 0
    for line in lines(page):
        words = shlex.split(line)
        if words[:2] == ["docker", "run"]:
            words = words[words.index("kinsight", words.index("-v") + 2) :]
        if words[0] in PROGRAMS:
            assert understood(PROGRAMS[words[0]], words[1:])
            ours += 1
    assert ours >= 4


def test_pages_and_dockerfile_name_the_pinned_llama_cpp_python() -> None:
    for file in (*PAGES, FOLDER / "Dockerfile"):
        named = re.findall(r"llama-cpp-python==\S+", file.read_text(encoding="utf-8"))
        assert set(named) <= {LLAMA}
        assert named or file.stem == "docker"


def test_the_first_step_on_a_pi_is_all_but_the_language_model() -> None:
    (line,) = [line for line in lines(FOLDER / "raspberry-pi.md") if line.startswith("pip install numpy")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[<>=;]", row)[0].strip() for row in project["dependencies"]}
    assert set(line.split()[2:]) == wanted - {"llama-cpp-python", "tomli"}


def test_flags_are_those_of_the_doctor_and_paths_are_there() -> None:
    text = {page.stem: page.read_text(encoding="utf-8") for page in PAGES}
    assert set(text) == {"docker", "jetson", "macos", "raspberry-pi"}
    assert set(BUILD_FLAGS) < set(device_names())
    for device, page in (("jetson-orin-nano", "jetson"), ("apple-silicon", "macos")):
        assert BUILD_FLAGS[device].replace("'", '"').strip() in text[page]
    assert BUILD_FLAGS["raspberry-pi-4"].strip() in text["raspberry-pi"]
    named = {
        span for page in text.values() for span in re.findall(r"`((?:docs|device_configs)/[^`]+)`", page)
    }
    assert named and all((ROOT / span).exists() for span in named)
