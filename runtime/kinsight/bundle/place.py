"""Gives a folder that is whole its name, in the place of one that may have it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path


def put_in_place(staging: Path, out: Path) -> None:
    """Renames `staging` to `out`; what was there is kept until that is done. OSError leaves all as it was."""
    old = staging.with_name(f"{staging.name}.old")
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    try:
        staging.rename(out)
    except OSError:
        with suppress(FileNotFoundError):
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
