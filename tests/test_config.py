"""Device configs: which one is read, its defaults, and what is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kinsight.config import DeviceConfig, load_device
from kinsight.errors import ConfigError

FULL = """
[device]
name = "jetson"
providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
threads = 4
memory_mb = 6144
bundle = "pocket"
[llm]
gpu_layers = -1
kv_type = "q8_0"
flash_attention = true
"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINSIGHT_DEVICE", raising=False)


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    path = tmp_path / "jetson.toml"
    path.write_text(FULL, encoding="utf-8")
    return path


def test_every_key(jetson: Path) -> None:
    assert load_device(jetson) == DeviceConfig(
        name="jetson",
        providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
        threads=4,
        memory_mb=6144,
        bundle="pocket",
        gpu_layers=-1,
        kv_type="q8_0",
        flash_attention=True,
    )


def test_what_may_be_left_out(jetson: Path) -> None:
    jetson.write_text(FULL.replace('bundle = "pocket"', "").partition("[llm]")[0], encoding="utf-8")
    device = load_device(jetson)
    assert (device.bundle, device.gpu_layers, device.kv_type, device.flash_attention) == (
        None,
        0,
        "f16",
        False,
    )


def test_the_default_is_laptop_cpu() -> None:
    device = load_device()
    assert (device.name, device.providers, device.threads) == ("laptop-cpu", ("CPUExecutionProvider",), 0)
    assert load_device("laptop-cpu") == device


def test_every_config_that_ships_is_named_as_its_file() -> None:
    files = sorted((Path(__file__).parents[1] / "device_configs").glob("*.toml"))
    assert "laptop-cpu" in [file.stem for file in files]
    for file in files:
        assert load_device(file.stem) == load_device(file)
        assert load_device(file).name == file.stem


def test_the_environment_counts_where_nothing_is_asked_for(
    jetson: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINSIGHT_DEVICE", str(jetson))
    assert load_device().name == "jetson"
    assert load_device("laptop-cpu").name == "laptop-cpu"
    monkeypatch.setenv("KINSIGHT_DEVICE", "")
    assert load_device().name == "laptop-cpu"


def test_a_text_with_the_ending_or_a_slash_is_a_path(jetson: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(jetson.parent)
    assert load_device("jetson.toml").name == "jetson"
    assert load_device("./jetson.toml").name == "jetson"
    (jetson.parent / "board").write_text(FULL, encoding="utf-8")
    assert load_device("./board").name == "jetson"


@pytest.mark.parametrize(
    "choice", ["laptop-cpuu", "gone.toml", "../laptop-cpu", "~nobody-at-all/a", "/", "", Path("laptop-cpu")]
)
def test_an_unknown_config_lists_the_known_ones(choice: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINSIGHT_DEVICE", "nothing")
    name = re.escape(repr(str(choice) or "nothing"))
    with pytest.raises(ConfigError, match=f"^there is no device config {name}: choose one of .*laptop-cpu"):
        load_device(choice)


@pytest.mark.parametrize(
    ("old", "new", "name", "mend"),
    [
        ("threads =", "thread =", "'device.thread' is not known", "write 'threads' if you meant that"),
        ("[llm]", "[lm]", "'lm' is not known", "write 'llm' if you meant that"),
        ("kv_type =", "cache =", "'llm.cache' is not known", "remove it"),
        ('name = "jetson"', "", "'device.name' is missing", "add it; it must be a text"),
        ("threads = 4", "", "'device.threads' is missing", "add it; it must be a whole number from 0"),
        ("threads = 4", 'threads = "4"', "'device.threads' is '4'", "it must be a whole number from 0"),
        ("threads = 4", "threads = -1", "'device.threads' is -1", "it must be a whole number from 0"),
        ("threads = 4", "threads = true", "'device.threads' is True", "it must be a whole number"),
        ("6144", "0", "'device.memory_mb' is 0", "from 64"),
        (
            '"CUDAExecutionProvider", "CPUExecutionProvider"',
            "",
            "'device.providers' is []",
            "1 or more values",
        ),
        ('"CUDAExecutionProvider"', '"cuda"', "'device.providers' is ['cuda'", "...ExecutionProvider"),
        ('"pocket"', '""', "'device.bundle' is ''", "not empty"),
        ("-1", "-2", "'llm.gpu_layers' is -2", "from -1"),
        ('"q8_0"', '"q4_0"', "'llm.kv_type' is 'q4_0'", '"f16" or "q8_0"'),
        ("true", "1", "'llm.flash_attention' is 1", "true or false"),
        ("[device]", "[device", "jetson.toml is not TOML", "correct the file"),
        ("[device]", "[other]", "'other' is not known", "remove it"),
    ],
)
def test_a_wrong_key_is_refused_by_name(jetson: Path, old: str, new: str, name: str, mend: str) -> None:
    assert old in FULL
    jetson.write_text(FULL.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_device(jetson)
    problem, found, advice = str(caught.value).partition(name)
    assert found, problem
    assert "jetson.toml" in str(caught.value) and mend in advice and "\n" not in advice


def test_a_folder_called_toml_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match="there is no device config"):
        load_device(tmp_path / "folder.toml")
