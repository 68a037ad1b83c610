"""Whether there is room for an export is asked before it begins, and said with what would help."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinsight.errors import ModelError
from kinsight_export.room import check_room, free_memory

GB = 10**9


def meminfo(folder: Path, kilobytes: int) -> Path:
    path = folder / "meminfo"
    path.write_text(f"MemTotal: 9999999 kB\nMemFree: 1 kB\nMemAvailable: {kilobytes} kB\n", encoding="utf-8")
    return path


def test_memory_and_disk_are_asked_before(tmp_path: Path) -> None:
    small = meminfo(tmp_path, 2_000_000)
    assert free_memory(small) == 2_048_000_000
    check_room("an export", tmp_path, 1, 2 * GB, small)
    with pytest.raises(ModelError) as refused:
        check_room("an export", tmp_path, 1, 3 * GB, small)
    assert str(refused.value) == (
        "an export needs 3.0 GB of memory, and 2.0 GB are free: close other programs, or use a machine with "
        "more memory"
    )
    with pytest.raises(ModelError, match=r"needs 1000000000.0 GB on the disk of .*: make room, or name a"):
        check_room("an export", tmp_path, GB * GB, 1, small)
    check_room("an export", tmp_path, 1, GB * GB, tmp_path / "a system that does not tell")
