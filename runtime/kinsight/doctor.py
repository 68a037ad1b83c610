"""Examines the installation, the user's data and the bundle; says what is broken and how to mend it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from kinsight.bundle import Bundle, check_hashes, find_bundle, pocket_folder, read_bundle, verify_bundle
from kinsight.config import DeviceConfig, load_device
from kinsight.errors import KinsightError, VaultError
from kinsight.home import Home, open_home

State = Literal["well", "note", "broken"]
"""`broken`: look does not work. `note`: something else does not, or is worth knowing."""

_LEAST_FREE = 500_000_000  # bytes on the disk of the home
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Finding:
    """One thing that was examined."""

    what: str
    state: State
    words: str  # what was found
    mend: str = ""  # a command or a sentence; "" where all is well


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


def examine(home: Path | None, bundle: str | None, device: str | None, verify: bool) -> list[Finding]:
    """Everything, in the order in which it is needed; the arguments are those of the command line."""
    findings = [_python(), *packages(PACKAGES)]
    loaded = {finding.what for finding in findings if finding.state == "well"}
    opened = config = None
    try:
        opened = open_home(home)
        findings.append(_home(opened))
        findings.append(_store(opened) if {"sqlite-utils", "numpy"} <= loaded else _skipped("store"))
    except KinsightError as error:
        findings.append(_broken("home" if opened is None else "store", error))
    try:
        config = load_device(device)
        findings.append(_device(config) if {"onnxruntime", "numpy"} <= loaded else _skipped("device"))
        if opened:
            findings += _bundle_and_memory(opened, config, bundle, verify)
    except KinsightError as error:
        findings.append(_broken("device" if config is None else "bundle", error))
    return findings


def packages(wanted: Sequence[Package]) -> list[Finding]:
    """Versions; each import is tried in a process of its own, as a wheel for another processor kills it."""
    tried = [_importing(package.module) for package in wanted]
    return [_package(package, _failure(process)) for package, process in zip(wanted, tried, strict=True)]


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


def _package(package: Package, failure: str) -> Finding:
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
    if failure.startswith("ModuleNotFoundError"):
        return Finding(name, state, f"missing, needed for {needed}", install)
    again = install.replace("install", "install --force-reinstall", 1)
    return Finding(name, state, f"does not load ({failure}), needed for {needed}", again)


def _version(package: Package) -> str:
    """Of whatever distribution brought the module, by name where that is another one than is asked for."""
    names = metadata.packages_distributions().get(package.module, [])
    found = {name.replace("_", "-"): metadata.version(name) for name in names}
    return found.get(package.name) or ", ".join(" ".join(row) for row in found.items()) or "found"


def _python() -> Finding:
    return Finding("python", "well", f"{platform.python_version()}, {platform.system()} {platform.machine()}")


def _home(home: Home) -> Finding:
    mode = stat.S_IMODE(home.folder.stat().st_mode)
    free = shutil.disk_usage(home.folder).free
    words = f"{home.folder}, permissions {mode:03o}, can be written, {_size(free)} free"
    if free < _LEAST_FREE:
        return Finding("home", "note", words, f"free some space on that disk, {_size(_LEAST_FREE)} at least")
    return Finding("home", "well", words)


def _store(home: Home) -> Finding:
    """Opens it and has SQLite read every page."""
    from kinsight.store import Store, is_encrypted

    if not home.store.exists():
        return Finding("store", "well", "nothing was remembered yet")
    encrypted = is_encrypted(home.store)
    try:
        with Store.open(home.store) as store:
            wrong, size = store.check(), store.size()
    except VaultError as error:
        return Finding("store", "note", error.problem, error.mend)
    if wrong:
        mend = "put a backup of store.db in its place"
        return Finding("store", "broken", f"{home.store} is damaged ({'; '.join(wrong[:3])})", mend)
    counted = ", ".join(f"{table}s: {size[table]}" for table in ("concept", "view", "negative"))
    vault = "encrypted; " if encrypted else ""
    return Finding("store", "well", f"{counted}; {vault}every page was read and is in order")


def _device(config: DeviceConfig) -> Finding:
    from kinsight.session import choose_providers

    chosen, reason = choose_providers(config.providers)
    threads = f"{config.threads} threads" if config.threads else "one thread per core"
    words = f"{config.name}, {threads}, {reason}"
    missing = [name for name in config.providers if name not in chosen]
    if missing:
        mend = f"install the onnxruntime that has {', '.join(missing)}, or use another device config"
        return Finding("device", "note", words, mend)
    return Finding("device", "well", words)


def _bundle_and_memory(
    home: Home, config: DeviceConfig, choice: str | None, verify: bool
) -> Iterator[Finding]:
    folder, reason = find_bundle(choice, config.bundle, home.bundles, pocket_folder())
    bundle = read_bundle(folder)
    if verify:
        check_hashes(bundle)
    else:
        verify_bundle(bundle, home.cache)
    checked = "every file hashed" if verify else "files as when they were last hashed"
    words = f"{bundle.name} {bundle.version} in {folder}, {reason}; knows {bundle.world}, {checked}"
    if bundle.embedder.calibration is None:
        mend = f"kinsight-export calibrate {folder} PHOTOS"
        yield Finding("bundle", "broken", f"{words}, but was never calibrated, so it names nobody", mend)
    elif bundle.llm is None:
        mend = "use another bundle for ask, caption and chat"
        yield Finding("bundle", "note", f"{words}, but has no language model", mend)
    else:
        yield Finding("bundle", "well", f"{words}, its language model sees {bundle.llm.sees}")
    yield _memory(bundle, config)


def _memory(bundle: Bundle, config: DeviceConfig) -> Finding:
    """The files of a bundle are about what its models take."""
    models = sum(path.stat().st_size for path, _ in bundle.hashes())
    allowed = config.memory_mb << 20
    total = _physical_memory()
    has = f"this machine has {_size(total)}, " if total else ""
    words = f"{has}the device config allows {_size(allowed)}, the bundle's models have {_size(models)}"
    if models > min(allowed, total or allowed):
        return Finding("memory", "note", words, "use a smaller bundle, or allow more in the device config")
    return Finding("memory", "well", words)


def _physical_memory() -> int:
    """Bytes; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def _broken(what: str, error: KinsightError) -> Finding:
    return Finding(what, "broken", error.problem, error.mend)


def _skipped(what: str) -> Finding:
    return Finding(what, "broken", "not examined, as a package that it needs does not load")


def _size(count: float) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
