"""Whether a bundle fits this machine: its memory, and the room on the disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from kinsight.catalogue.download import RESERVE
from kinsight.config import DeviceConfig

_OVERHEAD = 300_000_000  # bytes: Python, the libraries, a decoded photo, the caches


@dataclass(frozen=True)
class Fit:
    """What a bundle asks of a machine, and what that has."""

    memory: int  # bytes that it takes about
    allowed: int  # bytes that the device config allows
    disk: int  # bytes that are still to be written
    free: int  # bytes on the disk of the home

    @property
    def fits(self) -> bool:
        """Both do."""
        return self.memory <= self.allowed and self.disk + RESERVE <= self.free

    @property
    def words(self) -> str:
        """ "yes", or what it wants and what there is."""
        faults = []
        if self.memory > self.allowed:
            faults.append(f"takes {gigabytes(self.memory)} of memory, {gigabytes(self.allowed)} are allowed")
        if self.disk + RESERVE > self.free:
            needs = f"needs {gigabytes(self.disk)} on the disk and {gigabytes(RESERVE)} kept free"
            faults.append(f"{needs}, {gigabytes(self.free)} are free")
        return f"no: {', '.join(faults)}" if faults else "yes"


def fit(size: int, missing: int, device: DeviceConfig, home: Path) -> Fit:
    """Of a bundle of `size` bytes, of which `missing` are not on the disk yet.

    All models are loaded at once in a conversation about a photo, and take about what their files have.
    """
    return Fit(size + _OVERHEAD, device.memory_mb << 20, missing, shutil.disk_usage(home).free)


def gigabytes(count: float) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
