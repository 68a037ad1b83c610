"""What this machine is: its board, system, memory and heat, read from files below one root."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")
_BOARD_FILES = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_MEMORY_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
_COMMAND_SECONDS = 10.0


@dataclass(frozen=True)
class Machine:
    """A computer as far as it matters here; what it does not tell is "" or 0."""

    system: str  # "Linux", "Darwin", ...
    arch: str  # "x86_64", "aarch64", "arm64", ...
    board: str = ""  # "Raspberry Pi 5 Model B Rev 1.0"
    memory: int = 0  # bytes that a process may use here, a container's limit included
    root: Path = _ROOT  # where its files are

    @property
    def name(self) -> str:
        """The board, else system and architecture: "Darwin arm64"."""
        return self.board or f"{self.system} {self.arch}"

    def temperature(self) -> float | None:
        """Of the hottest zone in degrees Celsius; None where the system does not tell."""
        found = [
            int(text) / 1000
            for file in sorted((self.root / "sys/class/thermal").glob("thermal_zone*/temp"))
            if re.fullmatch(r"-?\d+", text := _read(file))
        ]
        return max(found, default=None)


def this_machine(root: Path = _ROOT) -> Machine:
    """The machine that this process runs on; `root` is another one's file system in tests."""
    return Machine(platform.system(), platform.machine(), _board(root), _memory(root), root)


def output_of(command: Sequence[str]) -> str | None:
    """What a command prints, one line or more; None where it is not there, fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_COMMAND_SECONDS, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()


def _board(root: Path) -> str:
    """As the device tree has it; a container often hides that, but neither its cpuinfo nor its kernel."""
    for file in _BOARD_FILES:
        if board := _read(root / file):
            return board
    if found := re.search(r"^Model\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.M):
        return found[1].strip()
    kernel = _read(root / "proc/sys/kernel/osrelease")
    return "NVIDIA Tegra" if kernel.endswith("tegra") or (root / "etc/nv_tegra_release").exists() else ""


def _memory(root: Path) -> int:
    total = re.search(r"^MemTotal:\s*(\d+) kB$", _read(root / "proc/meminfo"), re.M)
    limits = [int(text) for file in _MEMORY_LIMITS if (text := _read(root / file)).isdecimal()]
    if total:
        limits.append(int(total[1]) << 10)
    elif hasattr(os, "sysconf"):  # macOS
        with suppress(ValueError, OSError):
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((limit for limit in limits if limit > 0), default=0)


def _read(file: Path) -> str:
    """A short text without the zero byte at the end of the device tree's; "" where it cannot be read."""
    try:
        return file.read_bytes().decode("utf-8", "replace").strip("\0 \n\t")
    except OSError:
        return ""
