"""Device configs: which one is read, its defaults, and what is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kinsight.config import DeviceConfig, device_names, load_device
from kinsight.errors import ConfigError
from kinsight.machine import Machine, this_machine

FULL = """
[device]
name = "jetson"
providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
threads = 4
memory_mb = 6144
bundle = "pocket"
[provider_options.CUDAExecutionProvider]
device_id = 0
cudnn_conv_use_max_workspace = true
gpu_mem_limit = "2147483648"
[llm]
gpu_layers = -1
kv_type = "q8_0"
flash_attention = true
image_max_tokens = 128
mmap = false
"""
LAPTOP = Machine("Linux", "x86_64", memory=16 << 30)
CUDA = {"device_id": "0", "cudnn_conv_use_max_workspace": "1", "gpu_mem_limit": "2147483648"}


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
        provider_options={"CUDAExecutionProvider": CUDA},
        gpu_layers=-1,
        kv_type="q8_0",
        flash_attention=True,
        image_max_tokens=128,
        mmap=False,
    )


def test_what_may_be_left_out(jetson: Path) -> None:
    short = FULL.replace('bundle = "pocket"', "").partition("[provider_options")[0]
    jetson.write_text(short, encoding="utf-8")
    device = load_device(jetson)
    assert (device.bundle, device.provider_options, device.image_max_tokens) == (None, {}, None)
    assert (device.gpu_layers, device.kv_type, device.flash_attention) == (0, "f16", False)
    assert device.mmap is None


def test_the_default_is_laptop_cpu() -> None:
    device = load_device(machine=LAPTOP)
    assert (device.name, device.providers, device.threads) == ("laptop-cpu", ("CPUExecutionProvider",), 0)
    assert device.reason == "no other device config knows a Linux x86_64"
    assert load_device("laptop-cpu", machine=LAPTOP) == device


BOARDS = {
    "Raspberry Pi 4 Model B Rev 1.4": "raspberry-pi-4",
    "Raspberry Pi 400 Rev 1.0": "raspberry-pi-4",
    "Raspberry Pi Compute Module 4 Rev 1.1": "raspberry-pi-4",
    "Raspberry Pi 5 Model B Rev 1.0": "raspberry-pi-5",
    "Raspberry Pi 500 Rev 1.0": "raspberry-pi-5",
    "Raspberry Pi Compute Module 5 Rev 1.0": "raspberry-pi-5",
    "NVIDIA Jetson Orin Nano Developer Kit": "jetson-orin-nano",
    "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super": "jetson-orin-nano",
    "Raspberry Pi 3 Model B Plus Rev 1.3": "laptop-cpu",
    "Radxa ROCK 5B": "laptop-cpu",
}


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_is_recognised_by_its_device_tree(board: str, tmp_path: Path) -> None:
    (tmp_path / "proc" / "device-tree").mkdir(parents=True)
    (tmp_path / "proc" / "device-tree" / "model").write_bytes(board.encode() + b"\0")
    machine = this_machine(tmp_path)
    assert machine.name == board
    device = load_device(machine=machine)
    assert device.name == BOARDS[board]
    assert board in device.reason


def test_a_container_hides_the_device_tree_but_not_the_board(tmp_path: Path) -> None:
    (tmp_path / "proc" / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / "proc" / "cpuinfo").write_text(
        "processor\t: 0\n\nModel\t\t: Raspberry Pi 5 Model B Rev 1.1\n"
    )
    assert load_device(machine=this_machine(tmp_path)).name == "raspberry-pi-5"
    (tmp_path / "proc" / "cpuinfo").write_text("processor\t: 0\n")
    (tmp_path / "proc" / "sys" / "kernel" / "osrelease").write_text("5.15.148-tegra\n")
    assert load_device(machine=this_machine(tmp_path)).name == "jetson-orin-nano"


def test_a_mac_is_recognised_by_system_and_processor() -> None:
    assert load_device(machine=Machine("Darwin", "arm64")).name == "apple-silicon"
    assert load_device(machine=Machine("Darwin", "x86_64")).name == "laptop-cpu"


def test_two_thirds_of_the_memory_where_the_config_leaves_it_open(tmp_path: Path) -> None:
    """Of a container's memory where that is less."""
    assert load_device("laptop-cpu", machine=LAPTOP).memory_mb == 10922
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal:        3884400 kB\nMemFree:  1 kB\n")
    assert load_device("raspberry-pi-4", machine=this_machine(tmp_path)).memory_mb == 2528
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{3 << 29}\n")
    assert load_device("raspberry-pi-4", machine=this_machine(tmp_path)).memory_mb == 1024
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert load_device("raspberry-pi-4", machine=this_machine(tmp_path)).memory_mb == 2528


def test_compiled_engines_are_kept_in_the_cache(tmp_path: Path) -> None:
    engines = "trt_engine_cache_path"
    kept = load_device("jetson-orin-nano", tmp_path).provider_options["TensorrtExecutionProvider"]
    assert kept[engines] == f"{tmp_path}/tensorrt" and kept["trt_fp16_enable"] == "1"
    assert engines not in load_device("jetson-orin-nano").provider_options["TensorrtExecutionProvider"]


def test_every_config_that_ships_is_named_as_its_file() -> None:
    files = sorted((Path(__file__).parents[1] / "device_configs").glob("*.toml"))
    assert {"laptop-cpu", *BOARDS.values(), "apple-silicon"} == {file.stem for file in files}
    assert device_names() == [file.stem for file in files]
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
    assert load_device(machine=LAPTOP).name == "laptop-cpu"


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
        ("6144", "63", "'device.memory_mb' is 63", "it must be 0, or a whole number from 64"),
        ("device_id = 0", "device_id = [0]", "'provider_options' is", "it must be tables"),
        ("CUDAExecutionProvider]", "cuda]", "'provider_options' is", "named as execution providers"),
        ("= 128", "= 0", "'llm.image_max_tokens' is 0", "from 1"),
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
        ("mmap = false", 'mmap = "no"', "'llm.mmap' is 'no'", "true or false"),
        ("attention = true", "attention = false", "'llm.kv_type' is \"q8_0\"", "add flash_attention = true"),
        ("flash_attention = true", "", "'llm.kv_type' is \"q8_0\"", 'or write "f16"'),
        ("attention = true", "attention = 1", "'llm.flash_attention' is 1", "true or false"),
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
