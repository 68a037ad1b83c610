"""What the doctor finds, and whether its mends are the right ones."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import BlobPhoto
from kinsight.config import load_device
from kinsight.doctor import PACKAGES, Finding, Package, packages, twins
from kinsight.doctor.board import examine_machine
from kinsight.doctor.bundles import examine_bundle
from kinsight.home import open_home
from kinsight.machine import Machine, this_machine
from terminal import Terminal, fine
from tiny import Blob, make_bundle

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def fake_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules come before the installed ones in new processes."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def test_all_is_well(kinsight: Terminal, blob_photo: BlobPhoto) -> None:
    pytest.importorskip("llama_cpp", exc_type=ImportError)
    fine(kinsight("remember", blob_photo([Blob("red", (60, 200, 220, 420))]), "--name", "Lala"))
    said = fine(kinsight("doctor", "--verify"))
    rows = {line.split()[0]: line for line in said.out.splitlines() if line}
    assert said.out.splitlines()[-1] == "All is well."
    assert {package.name for package in PACKAGES} < rows.keys()
    assert re.search(r"numpy +\d+\.\d+", rows["numpy"])
    assert f"{kinsight.home}, permissions 700, can be written, " in rows["home"]
    assert "concepts: 1, views: 1, negatives: 0; every page was read and is in order" in rows["store"]
    assert "CPUExecutionProvider: as the device config asks" in rows["device"]
    assert "asked for with --bundle; knows drawn, every file hashed" in rows["bundle"]
    assert "MB" in rows["memory"]


def test_the_packages_are_those_of_the_project_file() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [line.partition(";")[0].strip() for line in project["project"]["dependencies"]]
    assert sorted(package.requirement for package in PACKAGES) == sorted(
        line for line in wanted if not line.startswith("tomli>")
    )


def test_without_llama_cpp_look_is_well(
    kinsight: Terminal, fake_modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [package for package in PACKAGES if package.name in (*NEEDED, "llama-cpp-python")]
    monkeypatch.setattr("kinsight.doctor.PACKAGES", few)
    missing = "raise ModuleNotFoundError(\"No module named 'llama_cpp'\")\n"
    (fake_modules / "llama_cpp.py").write_text(missing, encoding="utf-8")
    said = fine(kinsight("doctor"))
    assert "llama-cpp-python  missing, needed for ask, caption and chat" in said.out
    assert "To mend:\n  llama-cpp-python: pip install 'llama-cpp-python==0.3.36'\n" in said.out


@pytest.mark.parametrize(
    ("source", "state", "words", "mend"),
    [
        (None, "broken", "missing, needed for everything", "pip install 'no-such>=1'"),
        (
            "raise ImportError('libGL.so.1: cannot open shared object file')",
            "broken",
            "libGL.so.1: cannot open shared object file",
            "apt install libgl1",
        ),
        (
            "raise ImportError('numpy.core.multiarray failed to import')",
            "broken",
            "multiarray failed to import",
            "pip install --force-reinstall 'no-such>=1'",
        ),
        ("import os; os.abort()", "broken", "SIGABRT", "pip install --force-reinstall 'no-such>=1'"),
        ("", "well", "found", ""),
    ],
    ids=["missing", "libGL", "broken", "killed", "without a version"],
)
def test_every_import_is_tried(
    fake_modules: Path, source: str | None, state: str, words: str, mend: str
) -> None:
    if source is not None:
        (fake_modules / "no_such.py").write_text(source, encoding="utf-8")
    (finding,) = packages([Package("no-such>=1", "no_such")])
    assert (finding.what, finding.state, finding.mend) == ("no-such", state, mend)
    assert words in finding.words


def test_what_is_broken_is_said_with_its_mend(
    kinsight: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged store, an uncalibrated bundle and a provider that is not there, as JSON."""
    monkeypatch.setattr("kinsight.doctor.PACKAGES", [p for p in PACKAGES if p.name in NEEDED])
    make_bundle(tmp_path / "raw", calibrated=False)
    kinsight.home.mkdir()
    (kinsight.home / "store.db").write_bytes(b"not a database" * 100)
    device = tmp_path / "npu.toml"
    device.write_text(
        '[device]\nname = "npu"\nproviders = ["NoSuchExecutionProvider"]\nthreads = 1\nmemory_mb = 64\n',
        encoding="utf-8",
    )
    said = replace(kinsight, bundle=tmp_path / "raw")("doctor", "--json", "--device", device)
    assert said.code == 1
    assert (said.json["format"], said.json["well"]) == (1, False)
    found = {finding["what"]: finding for finding in said.json["findings"]}
    assert found.pop("machine")["words"].startswith(this_machine().name)
    assert {what: finding["state"] for what, finding in found.items()} == {
        **dict.fromkeys(["python", *NEEDED, "home", "memory"], "well"),
        "store": "broken",
        "device": "note",
        "bundle": "broken",
    }
    assert "put a backup in its place" in found["store"]["mend"]
    assert "NoSuchExecutionProvider" in found["device"]["mend"]
    assert found["bundle"]["mend"] == f"kinsight-export calibrate {tmp_path / 'raw'} PHOTOS"


NEEDED = ["numpy", "onnxruntime", "sqlite-utils"]


@pytest.mark.stress
def test_only_verify_sees_a_change_that_keeps_size_and_time(
    kinsight: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinsight.doctor.PACKAGES", [p for p in PACKAGES if p.name in NEEDED])
    shutil.copytree(kinsight.bundle or "", tmp_path / "bundle")
    mine, file = replace(kinsight, bundle=tmp_path / "bundle"), tmp_path / "bundle" / "image.onnx"
    fine(mine("doctor"))
    status, data = file.stat(), bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "files as when they were last hashed" in fine(mine("doctor")).out
    said = mine("doctor", "--verify")
    assert said.code == 1
    assert f"{file} is damaged" in said.out
    assert "  bundle: " in said.out.partition("To mend:")[2]


def test_without_a_bundle_the_rest_is_examined(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinsight.doctor.PACKAGES", [])
    said = Terminal(home, None, capfd)("doctor", "--bundle", "no-such-bundle")
    assert said.code == 1
    assert "there is no bundle 'no-such-bundle'" in said.out
    assert f"{home}, permissions 700, can be written" in said.out
    assert said.out.count("not examined, as a package that it needs does not load") == 2


def a_machine(root: Path, board: str, degrees: float, memory_kb: int) -> Machine:
    """The files of a Linux board."""
    files = {
        "proc/device-tree/model": f"{board}\0",
        "proc/meminfo": f"MemTotal: {memory_kb} kB\n",
        "sys/class/thermal/thermal_zone0/temp": "31000\n",
        "sys/class/thermal/thermal_zone1/temp": f"{degrees * 1000:.0f}\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return this_machine(root)


@pytest.fixture
def a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a command on the path that prints something."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, script: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    return make


@pytest.mark.parametrize(
    ("bits", "state", "words", "mend"),
    [
        ("0x0", "well", "none since it was started", ""),
        ("0x50000", "note", "since it was started: too little voltage, it is slowed down", "power supply"),
        ("0x50005", "note", "now: too little voltage, it is slowed down", "power supply"),
        ("0x80008", "note", "now: it is near its heat limit", "cool it"),
    ],
)
def test_a_raspberry_pi_says_what_slowed_it_down(
    tmp_path: Path, a_command: Callable[[str, str], None], bits: str, state: str, words: str, mend: str
) -> None:
    a_command("vcgencmd", f'[ "$1" = get_throttled ] && echo throttled={bits}')
    board = a_machine(tmp_path / "root", "Raspberry Pi 5 Model B Rev 1.0", 61.4, 8_000_000)
    found = {finding.what: finding for finding in examine_machine(board)}
    assert found["machine"] == Finding(
        "machine", "well", "Raspberry Pi 5 Model B Rev 1.0, 8.2 GB of memory, 61 degrees Celsius"
    )
    assert (found["throttling"].state, found["throttling"].words) == (state, words)
    assert mend in found["throttling"].mend


def test_heat_and_the_power_mode_of_a_jetson(tmp_path: Path, a_command: Callable[[str, str], None]) -> None:
    a_command("nvpmodel", 'echo "NV Power Mode: 15W"; echo 0')
    board = a_machine(tmp_path / "root", "NVIDIA Jetson Orin Nano Developer Kit", 85.0, 7_600_000)
    found = {finding.what: finding for finding in examine_machine(board)}
    assert (found["machine"].state, found["machine"].mend) == ("note", "cool it, with a fan or a heat sink")
    assert found["power mode"].words == "15W" and "nvpmodel -m 0" in found["power mode"].mend
    a_command("nvpmodel", "exit 1")
    assert [finding.what for finding in examine_machine(board)] == ["machine"]


def test_packages_that_overwrite_each_other(tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu", "opencv_python"):
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        (tmp_path / f"{name}-1.0.dist-info" / "METADATA").write_text(metadata, encoding="utf-8")
    (finding,) = twins([str(tmp_path)])
    assert (finding.what, finding.state) == ("onnxruntime", "note")
    assert finding.mend == (
        "pip uninstall -y onnxruntime onnxruntime-gpu && "
        "pip install --no-deps --force-reinstall onnxruntime-gpu"
    )
    (finding,) = twins([str(tmp_path)], "jetson-orin-nano")  # the package index has none for it
    assert "force-reinstall" not in finding.mend and "install NVIDIA's wheel" in finding.mend


@pytest.mark.parametrize(("memory_mb", "best"), [(600, "look"), (1400, "small"), (90_000, "medium"), (9, "")])
def test_a_bundle_that_does_not_fit_is_not_recommended(home: Path, memory_mb: int, best: str) -> None:
    config = replace(load_device("laptop-cpu"), memory_mb=memory_mb, bundle="medium")
    finding = next(examine_bundle(open_home(home), config, None, False))
    assert finding.mend == (f"kinsight pull {best}" if best else "free some space, or allow more memory")
    assert (f"; {best} does" in finding.words) == (best in ("look", "small"))


@pytest.mark.parametrize(
    ("device", "flags"),
    [
        ("laptop-cpu", ""),
        ("raspberry-pi-4", "CMAKE_BUILD_PARALLEL_LEVEL=2 "),
        ("jetson-orin-nano", "-DGGML_CUDA=on"),
        ("apple-silicon", "-DGGML_METAL=on"),
    ],
)
def test_what_is_built_from_source_has_the_flags_of_the_device(
    fake_modules: Path, a_command: Callable[[str, str], None], device: str, flags: str
) -> None:
    a_command("cc", "")
    missing = "raise ModuleNotFoundError(\"No module named 'llama_cpp'\")\n"
    (fake_modules / "llama_cpp.py").write_text(missing, encoding="utf-8")
    (package,) = [package for package in PACKAGES if package.module == "llama_cpp"]
    (finding,) = packages([package], device)
    assert flags in finding.mend and finding.mend.endswith("pip install 'llama-cpp-python==0.3.36'")


@pytest.mark.stress
def test_the_bundle_that_is_made_for_the_device_is_named(
    kinsight: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinsight.doctor.PACKAGES", [p for p in PACKAGES if p.name in NEEDED])
    said = replace(kinsight, bundle=None)("doctor", "--device", "raspberry-pi-4", "--json")
    found = {finding["what"]: finding for finding in said.json["findings"]}
    assert found["bundle to pull"]["mend"] == "kinsight pull tiny"
    assert "does it fit?" in found["bundle to pull"]["words"]
    assert "not in this ONNX Runtime: XnnpackExecutionProvider" in found["device"]["words"]
    assert found["device"]["state"] == "well"  # nobody can get that one
    said = replace(kinsight, bundle=None)("doctor", "--device", "jetson-orin-nano", "--json")
    found = {finding["what"]: finding for finding in said.json["findings"]}
    assert found["device"]["state"] == "note" and "NVIDIA's onnxruntime-gpu" in found["device"]["mend"]
