"""Examines the packages: versions, whether each can be imported, and which get into each other's way."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from kinsight.doctor.findings import Finding, State

_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Package:
    """A dependency, as it is installed and as it is imported."""

    requirement: str  # for pip
    module: str
    needed_for: str = "everything"

    @property
    def name(self) -> str:
        """Of the distribution."""
        return re.split(r"[<>=]", self.requirement, maxsplit=1)[0]


PACKAGES = (
    Package("numpy>=1.24", "numpy"),
    Package("opencv-python>=4.8", "cv2"),
    Package("onnxruntime>=1.17", "onnxruntime"),
    Package("usearch>=2.25", "usearch"),
    Package("numkong>=7", "numkong"),
    Package("sqlite-utils>=4.0", "sqlite_utils"),
    Package("llama-cpp-python==0.3.36", "llama_cpp", "ask, caption and chat"),
    Package("tokenizers>=0.15", "tokenizers", "text search"),
    Package("click>=8.1", "click"),
    Package("rich>=13.0", "rich"),
    Package("platformdirs>=4.0", "platformdirs"),
    Package("httpx>=0.25", "httpx", "pull"),
)
SYSTEM_LIBRARIES = {
    "libGL.so": "libgl1",
    "libgthread": "libglib2.0-0",
    "libgomp": "libgomp1",
    "libstdc++": "libstdc++6",
}
"""Shared libraries that wheels leave to the system -> Debian's package."""
TWINS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "cv2": ("opencv-python-headless", "opencv-contrib-python", "opencv-python"),
}
"""Module -> distributions that bring it, the one to keep last."""
BUILD_FLAGS = {
    "raspberry-pi-4": "CMAKE_BUILD_PARALLEL_LEVEL=2 ",
    "raspberry-pi-5": "CMAKE_BUILD_PARALLEL_LEVEL=3 ",
    "jetson-orin-nano": "CMAKE_ARGS='-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=87' "
    "CMAKE_BUILD_PARALLEL_LEVEL=3 ",
    "apple-silicon": "CMAKE_ARGS='-DGGML_METAL=on' ",
}
"""Device config -> what stands before `pip install` of llama-cpp-python: few jobs where memory is small."""


def packages(wanted: Sequence[Package], device: str = "") -> list[Finding]:
    """Versions; each import is tried in a process of its own, as a wheel for another processor kills it.

    `device` is the name of the device config, whose flags a package that is built from source is given.
    """
    tried = [_importing(package.module) for package in wanted]
    return [
        _package(package, _failure(process), device) for package, process in zip(wanted, tried, strict=True)
    ]


def twins(folders: Sequence[str] | None = None, device: str = "") -> list[Finding]:
    """Distributions that write into the same folder: the one that was installed last is damaged by the other.

    `folders` are searched in the place of sys.path; `device` is the name of the device config.
    """
    found = metadata.distributions(path=list(sys.path if folders is None else folders))
    there = {(row.metadata["Name"] or "").lower() for row in found}
    findings = []
    for module, names in TWINS.items():
        both = [name for name in names if name in there]
        if len(both) > 1:
            words = f"{' and '.join(both)} are both installed and overwrite each other"
            mend = f"pip uninstall -y {' '.join(both)} && pip install --no-deps --force-reinstall {both[-1]}"
            if device.startswith("jetson") and module == "onnxruntime":  # the package index has none for it
                mend = (
                    f"pip uninstall -y {' '.join(both)}, then install NVIDIA's wheel (docs/install/jetson.md)"
                )
            findings.append(Finding(module, "note", words, mend))
    return findings


def _importing(module: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"import {module}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _failure(process: subprocess.Popen[str]) -> str:
    """Why an import failed, in the words of the process; "" where it did not."""
    try:
        _, complaint = process.communicate(timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"its import takes more than {_PROBE_SECONDS:.0f} s"
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return f"its import is killed by {name}: it was built for another processor or is damaged"
    lines = complaint.strip().splitlines()
    return (lines[-1] if lines else "its import fails") if process.returncode else ""


def _package(package: Package, failure: str, device: str) -> Finding:
    name = package.name
    if not failure:
        return Finding(name, "well", _version(package))
    state: State = "broken" if package.needed_for == Package.needed_for else "note"
    needed = package.needed_for
    library = next((apt for sign, apt in SYSTEM_LIBRARIES.items() if sign in failure), None)
    if library:
        return Finding(
            name, state, f"does not load ({failure}), needed for {needed}", f"apt install {library}"
        )
    install = f"pip install '{package.requirement}'"
    if package.module == "llama_cpp":
        install = f"{_compiler()}{BUILD_FLAGS.get(device, '')}{install}"
    if failure.startswith("ModuleNotFoundError"):
        return Finding(name, state, f"missing, needed for {needed}", install)
    again = install.replace("install", "install --force-reinstall", 1)
    return Finding(name, state, f"does not load ({failure}), needed for {needed}", again)


def _compiler() -> str:
    return "" if any(map(shutil.which, ("cc", "gcc", "clang"))) else "sudo apt install build-essential && "


def _version(package: Package) -> str:
    """Of whatever distribution brought the module, by name where that is another one than is asked for."""
    names = metadata.packages_distributions().get(package.module, [])
    found = {name.replace("_", "-"): metadata.version(name) for name in names}
    return found.get(package.name) or ", ".join(" ".join(row) for row in found.items()) or "found"
