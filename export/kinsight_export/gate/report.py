"""What a gate found: checks with a figure and a limit each, facts beside them, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from kinsight.errors import ParityError

Bound = Literal["at most", "at least"]


@dataclass(frozen=True)
class Check:
    """One comparison with the source, and the limit that its figure must keep."""

    name: str  # short: "raw outputs"; its key in [parity]
    compared: str  # what with what, and on what, in words
    measure: str  # what the figure is: "lowest cosine"
    figure: float  # nan and inf keep no limit
    limit: float
    bound: Bound = "at most"  # a control that must differ is "at least"
    cause: str = ""  # what a broken limit points at: a clause that completes "probably ..."

    @property
    def kept(self) -> bool:
        """Whether the figure keeps the limit."""
        if not math.isfinite(self.figure):
            return False
        return self.figure <= self.limit if self.bound == "at most" else self.figure >= self.limit

    @property
    def words(self) -> str:
        """ "lowest cosine .9731, must be at least .9999"."""
        return f"{self.measure} {self.figure:.4g}, must be {self.bound} {self.limit:.4g}"


@dataclass(frozen=True)
class Fact:
    """Something that was measured and has no limit: a size, a latency."""

    name: str
    figure: float
    unit: str  # "MB", "ms", "of the source's time"


@dataclass(frozen=True)
class Report:
    """One part of a bundle held against the model that it was made of."""

    part: str  # "detector" | "embedder" | "llm": its table in [parity]
    source: str  # in words
    checks: tuple[Check, ...]
    facts: tuple[Fact, ...] = ()
    unjudged: tuple[str, ...] = ()  # what could not be compared and why: "boxes: none found on either side"

    def broken(self) -> Iterator[Check]:
        """The checks whose limit is not kept, in their order."""
        return (check for check in self.checks if not check.kept)

    def require(self) -> Report:
        """Itself; ParityError about the first broken limit, or where nothing was compared."""
        if not self.checks:
            raise ParityError(f"the {self.part} was compared with nothing", "give pictures to compare on")
        first = next(self.broken(), None)
        if first is None:
            return self
        raise ParityError(
            f"the {self.part} is not what {self.source} is: {first.name}, {first.words}",
            f"probably {first.cause}" if first.cause else "export it again in float32",
        )

    def table(self) -> dict[str, Any]:
        """What stands in bundle.toml under [parity.PART]."""
        rows: dict[str, Any] = {"source": self.source}
        rows |= {_key(fact.name): {"figure": fact.figure, "unit": fact.unit} for fact in self.facts}
        for check in self.checks:
            rows[_key(check.name)] = {
                "compared": check.compared,
                "measure": check.measure,
                "figure": check.figure,
                "limit": f"{check.bound} {check.limit:g}",
                "verdict": "kept" if check.kept else "broken",
            }
        if self.unjudged:
            rows["not_judged"] = list(self.unjudged)
        return rows


def _key(name: str) -> str:
    return "_".join(name.split())
