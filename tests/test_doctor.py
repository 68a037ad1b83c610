"""What the doctor finds, and whether its mends are the right ones."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import BlobPhoto
from kinsight.doctor import PACKAGES, Package, packages
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


def test_without_llama_cpp_look_is_well(kinsight: Terminal, fake_modules: Path) -> None:
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
