"""Licences of weights: which ask for more than to be named, what a model card says, and what was accepted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kinsight.errors import ConfigError

ULTRALYTICS = "AGPL-3.0"
PERMISSIVE = ("Apache-2.0", "MIT", "BSD-3-Clause", "BSD-2-Clause")
"""Licences that ask for no more than to be named."""
_NO_NAMES = ("other", "unknown")  # what cards say of a licence that has no short name


def accepted(licence: str, accept: Sequence[str], what: str) -> None:
    """ConfigError where a licence that asks for more than its name was not accepted by name."""
    if licence in PERMISSIVE or licence in accept:
        return
    raise ConfigError(
        f"{what} is under {licence}, which asks for more than to be named: read it first",
        f"pass --accept {licence} if you will keep it",
    )


def required_licence(
    named: str | None, stated: Sequence[str | None], accept: Sequence[str], what: str
) -> str:
    """The licence that was named, or that the weights state: known, and accepted where it has to be.

    ConfigError where nobody says one, where the two contradict each other, and where one is not accepted.
    """
    said = list(dict.fromkeys(spdx(each) for each in stated if each and each.lower() not in _NO_NAMES))
    named = spdx(named) if named else None
    if named and (other := next((each for each in said if each and each.lower() != named.lower()), None)):
        raise ConfigError(
            f"{what} says of itself that it is under {other}, and --licence says {named}",
            f"leave --licence out, or pass --licence {other}",
        )
    licences = said or [named]
    if not licences[0]:
        raise ConfigError(
            f"nobody says under which licence {what} is", "pass --licence NAME, as SPDX writes it"
        )
    for licence in licences:
        accepted(licence or "", accept, what)
    return licences[0] if len(licences) == 1 else strictest(licences)


def licence_of_all(named: str | None, parts: Sequence[str | None]) -> str:
    """That of a bundle: as named, or else the strictest of its parts.

    ConfigError where a part asks for more than what was named.
    """
    strict = strictest(parts)
    if named is None or strict in PERMISSIVE:
        return named or strict
    if left := next((each for each in strict.split(" AND ") if each not in named.split(" AND ")), None):
        raise ConfigError(
            f"a part is under {left}, and --licence says {named}", f"leave --licence out, or pass {strict!r}"
        )
    return named


def licence_of(folder: Path) -> str | None:
    """What the model card of a checkpoint says in its head; None where it says nothing."""
    card = folder / "README.md"
    if not os.access(card, os.R_OK):
        return None
    head = card.read_text(encoding="utf-8", errors="replace").split("---")
    lines = head[1].splitlines() if len(head) > 2 else []
    said = next((line.partition(":")[2].strip() for line in lines if line.startswith("license:")), "")
    return spdx(said.strip("\"'"))


def spdx(said: str) -> str | None:
    """A licence as SPDX writes it, of what a card or a file calls it; None where it says nothing."""
    known = {"apache-2.0": "Apache-2.0", "mit": "MIT", "agpl-3.0": "AGPL-3.0", "gpl-3.0": "GPL-3.0"}
    return known.get(said.lower(), said) or None


def strictest(licences: Sequence[str | None]) -> str:
    """Of several parts, as SPDX writes it: all that ask for more than to be named, else Apache-2.0."""
    strict = dict.fromkeys(licence for licence in licences if licence and licence not in PERMISSIVE)
    return " AND ".join(strict) or PERMISSIVE[0]
