"""One thing that the doctor examined, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kinsight.errors import KinsightError

State = Literal["well", "note", "broken"]
"""`broken`: look does not work. `note`: something else does not, or is worth knowing."""


@dataclass(frozen=True)
class Finding:
    """One thing that was examined."""

    what: str
    state: State
    words: str  # what was found
    mend: str = ""  # a command or a sentence; "" where all is well


def broken(what: str, error: KinsightError) -> Finding:
    """What an error found."""
    return Finding(what, "broken", error.problem, error.mend)


def skipped(what: str) -> Finding:
    """What cannot be examined without a package."""
    return Finding(what, "broken", "not examined, as a package that it needs does not load")
