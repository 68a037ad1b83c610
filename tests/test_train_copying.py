"""The heads of the pocket language model that copy: where they are told to look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

from kinsight_train.mllm import copying, training
from kinsight_train.mllm.cells import Readers
from kinsight_train.mllm.lessons import Lessons
from kinsight_train.mllm.model import Mllm, Rows
from kinsight_train.mllm.sorts import Sort, about_looks
from kinsight_train.mllm.tokenizer import MllmTokenizer
from tiny_mllm import SHAPE, make_tokenizer

pytestmark = pytest.mark.train

DEEP = replace(SHAPE, layers=5, heads=4, key_heads=2)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> MllmTokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def plain_row(tokens: list[int], segment: list[int]) -> Rows:
    """One row of text."""
    prefix = segment.count(0)
    own = [[at for at, one in enumerate(segment) if one == part].index(n) for n, part in enumerate(segment)]
    positions = [at if part == 0 else prefix + at for at, part in zip(own, segment, strict=True)]
    return Rows(
        *(torch.tensor([each]) for each in (tokens, positions, segment, [0] * len(tokens))),
        torch.zeros(0, 3, 1, 1),
    )


def targets(rows: Rows, place: int, said: int) -> list[int]:
    """Where the copying head is to look at a place whose next token is `said`."""
    labels = torch.full_like(rows.tokens, -100)
    labels[0, place] = said
    found = copying._said_before(rows, labels != -100, labels, rows.mask()[:, 0])
    return found[0].nonzero()[:, 0].tolist()


def test_what_is_said_next_is_looked_for_after_the_same_two_tokens() -> None:
    """ "t" is followed by "t" and by "o": which of them comes now, the token before tells."""
    otto = [20, 21, 21, 22]
    rows = plain_row([9, *otto, 8, *otto], [0] * 10)
    assert targets(rows, 6, 21) == [2]  # O -> t
    assert targets(rows, 7, 21) == [3]  # Ot -> t, and not the first t
    assert targets(rows, 8, 22) == [4]  # tt -> o
    assert targets(rows, 8, 30) == []  # never said before


def test_nothing_is_copied_from_another_talk() -> None:
    rows = plain_row([9, 20, 21, 30, 20, 31, 20], [0, 0, 0, 1, 1, 2, 2])
    assert targets(rows, 6, 21) == [2]
    rows = plain_row([9, 19, 18, 20, 21, 20], [0, 0, 0, 1, 1, 2])
    assert targets(rows, 5, 21) == []


def test_copying_is_learned_after_some_steps(tokenizer: MllmTokenizer) -> None:
    torch.manual_seed(3)
    pupil = training.Pupil(Mllm(DEEP, tokenizer, seed=1), Readers(DEEP))
    batch = Lessons(tokenizer.file, 3, 2, DEEP, [Sort(about_looks, 1.0, 1)], blocks=2)(0)
    optimiser = torch.optim.AdamW(pupil.model.parameters(), lr=3e-3)
    steps = []
    for _ in range(60):
        losses = training.copying_loss(pupil, batch)
        steps.append({name: loss.item() for name, loss in losses.items()})
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    for name in ("before", "copies"):
        assert np.isfinite(steps[-1][name])
        assert steps[-1][name] < 0.6 * steps[0][name], name
