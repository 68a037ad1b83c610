"""Look-alikes: one refusal suffices, and two in one photo never share a name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from identities import draw_identities
from kinsight.bundle import Calibration, pocket_folder
from kinsight.errors import ConfigError
from kinsight.evaluate.lookalikes import Negatives, Pair, at_threshold, negatives, photo_pairs
from kinsight.evaluate.shots import Shot
from kinsight.recall import Rules
from kinsight.types import Floats, Regions
from terminal import Terminal, fine, last_line

RULES = Rules(Calibration(((0.0, 0.0), (1.0, 1.0)), 0.6, 0.5, 0.05, "by hand"), frozenset())
REGION = Regions(np.array([[0, 0, 10, 10]], np.float32), np.array([0.9], np.float32), ("thing",))


def unit(*values: float) -> Floats:
    vector = np.array(values, np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def shot(identity: str, vector: Floats, boxed: bool = False) -> Shot:
    vectors = np.stack([vector, unit(0, 0, 0, 1)])
    return Shot(identity, Path("a.png"), REGION, vectors, vectors, vector if boxed else None)


def silent(what: str, done: int, total: int) -> None:
    """No word on the progress."""


def test_one_refusal_suffices() -> None:
    lala, double = unit(1, 0.3, 0, 0), unit(1, 0, 0.6, 0)
    own = [shot("A", unit(1, 0.3, 0.02, 0)), shot("A", unit(1, 0.25, 0, 0))]
    pair = Pair(
        lala[None], own, [shot("B", double), shot("B", unit(1, 0, 0.55, 0)), shot("B", unit(0, 0, 1, 0))]
    )
    assert negatives([pair], RULES, silent) == Negatives(
        pairs=1, trials=3, others=6, named_before=4, named_after=2, own=6, lost=0, trials_lost_more_than_one=0
    )  # the third photo of B says little about the others: refusing it leaves both
    strict = replace(RULES, calibration=replace(RULES.calibration, accept_probability=1.0))
    assert negatives([pair], strict, silent).named_before == 0


def test_every_ordered_pair_of_some_identities() -> None:
    shots = [shot(name, unit(1, row, 0, 0), boxed=row == 1) for name in ("p", "q", "r") for row in range(3)]
    pairs = photo_pairs(shots, ())
    assert len(pairs) == 6
    assert (pairs[0].taught == shots[1].boxed).all()
    assert [one.identity for one in pairs[0].own] == ["p", "p"]
    assert [one.identity for one in pairs[0].others] == ["q"] * 3
    assert [pair.own[0].identity for pair in photo_pairs(shots, ("r", "p"))] == ["r", "p"]
    with pytest.raises(ConfigError, match="there is no identity s here: choose from p, q, r"):
        photo_pairs(shots, ("s",))


def test_eval_negatives_of_photos(kinsight: Terminal, tmp_path: Path) -> None:
    folder = draw_identities(tmp_path / "blobs", ["red", "cyan", "pink"], photos=2)
    said = fine(kinsight("eval", "negatives", folder, "--only", "red", "--only", "pink"))
    found = json.loads(said.out.splitlines()[-1])
    assert (found["eval"], found["pairs"], found["trials"], found["named_after"]) == ("negatives", 2, 4, 0)
    assert found["lost"] == 0
    words = "--only", "red", "--only", "pink", "--threshold", "0"
    anybody = last_line(kinsight("eval", "negatives", folder, *words))
    assert anybody["named_before"] == anybody["others"] == 4 and anybody["named_after"] == 0


@pytest.mark.parametrize("threshold", [None, 0.3, 0.0])
def test_a_threshold_of_ones_own(threshold: float | None) -> None:
    """At 0 everything is named but for what a negative keeps from it."""
    rules = at_threshold(RULES, threshold)
    pair = Pair(unit(1, 0, 0, 0)[None], [], [shot("B", unit(0.4, 1, 0, 0)), shot("B", unit(0.05, 1, 0, 0))])
    found = negatives([pair], rules, silent)
    assert (found.trials, found.named_before) == (2, {None: 0, 0.3: 1, 0.0: 2}[threshold])
    assert found.named_after == 0


@pytest.mark.skipif(pocket_folder() is None, reason="this installation has no built-in bundle")
@pytest.mark.parametrize("words", [("negatives", "--pairs", "3"), ("twins", "--scenes", "8")])
def test_eval_of_drawn_look_alikes(kinsight: Terminal, words: tuple[str, ...]) -> None:
    pocket = replace(kinsight, bundle=pocket_folder())
    found = json.loads(fine(pocket("eval", *words)).out.splitlines()[-1])
    assert found["eval"] == words[0]
    if words[0] == "twins":
        outcomes = ("both_right", "one_right", "nobody_named", "somebody_wrong")
        assert found["same_name_twice"] == 0 and sum(found[key] for key in outcomes) == 8
    else:
        assert found["trials"] == 12 and found["named_after"] <= found["named_before"]


@pytest.mark.stress
@pytest.mark.skipif(pocket_folder() is None, reason="this installation has no built-in bundle")
def test_one_refusal_of_two_hundred_drawn_look_alikes(kinsight: Terminal) -> None:
    """None of 2400 others is named any more; more than one own photo is lost in 1 of 800 trials, no more."""
    found = last_line(replace(kinsight, bundle=pocket_folder())("eval", "negatives", "--pairs", "200"))
    assert (found["pairs"], found["trials"], found["others"]) == (200, 800, 2400)
    assert found["named_before"] >= 60
    assert found["named_after"] == 0
    assert found["lost"] <= 32 and found["trials_lost_more_than_one"] <= 1
