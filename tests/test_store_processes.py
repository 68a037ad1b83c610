"""Several processes at one store, and processes that die."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from children import ended, filled, held, in_a_child
from crops import crop
from kinsight.errors import DuplicateName, StoreBusy
from kinsight.store import Changes, Store
from kinsight.types import Concept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_a_writer_that_waits_for_too_long_says_so(path: Path) -> None:
    filled(path)
    with Store.open(path, timeout=0.05) as store:
        with held(path, "immediate"):
            for change in (
                lambda: store.remember(crop(9), "Lala"),
                lambda: store.edit("concept 0", Changes(info="x")),
                lambda: store.forget("concept 0"),
                store.undo,
            ):
                with pytest.raises(StoreBusy, match=r"in use by another process.*try again"):
                    change()
            assert len(store.concepts()) == 3
        assert store.size()["journal"] == 3
        store.remember(crop(9), "Lala")


def test_two_processes_write_at_the_same_time(path: Path) -> None:
    def work(first: int) -> None:
        with Store.open(path) as store:
            for seed in range(first, first + 20):
                store.remember(crop(seed), f"concept {seed}")

    children = [in_a_child(lambda first=first: work(first)) for first in (0, 100)]
    assert [ended(child) for child in children] == [0, 0]
    with Store.open(path) as store:
        names = {concept.name for concept in store.concepts()}
        assert names == {f"concept {seed}" for first in (0, 100) for seed in range(first, first + 20)}
        assert store.generation() == 40
        assert [len(concept.views) for concept in store.concepts()] == [1] * 40


def test_two_processes_make_the_store_at_the_same_time(tmp_path: Path) -> None:
    def work(path: Path, seed: int) -> None:
        with Store.open(path) as store:
            store.remember(crop(seed), f"concept {seed}")

    for round_ in range(5):
        path = tmp_path / f"{round_}.db"
        children = [in_a_child(lambda path=path, seed=seed: work(path, seed)) for seed in range(3)]
        assert [ended(child) for child in children] == [0, 0, 0]
        with Store.open(path) as store:
            assert len(store.concepts()) == 3


def test_a_name_goes_to_one_of_two_processes(path: Path) -> None:
    def work() -> None:
        with Store.open(path) as store, contextlib.suppress(DuplicateName):
            for seed in range(10):
                store.remember(crop(seed), f"concept {seed}")

    children = [in_a_child(work) for _ in range(2)]
    assert [ended(child) for child in children] == [0, 0]
    with Store.open(path) as store:
        assert len(store.concepts()) <= 10
        assert store.check() == []


def churn(path: Path, told: int, first: int) -> None:
    """Change the store for ever, and write down each change that was acknowledged."""
    with Store.open(path) as store:
        for step in range(first, first + 1000):
            store.remember(crop(step % 50), f"concept {step}")
            os.write(told, f"remember {step}\n".encode())
            store.edit(f"concept {step}", Changes(info=f"info {step}", add_aliases=(f"alias {step}",)))
            os.write(told, f"edit {step}\n".encode())
            if step % 7 == 3:
                store.forget(f"concept {step}")
                os.write(told, f"forget {step}\n".encode())


def killed(path: Path, first: int, after_s: float) -> dict[str, str]:
    """Let `churn` run for a while; the last verb that was acknowledged, by the concept's number."""
    heard, told = os.pipe()
    child = in_a_child(lambda: churn(path, told, first))
    os.close(told)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    with os.fdopen(heard) as lines:
        return {step: verb for verb, step in map(str.split, lines)}


def test_killed_at_any_moment_all_or_nothing(path: Path) -> None:
    moments = random.Random(7)
    kept: dict[str, Concept] = {}
    changes = 0
    for first in range(0, 20_000, 1000):
        acknowledged = killed(path, first, moments.uniform(0.0, 0.08))
        changes += len(acknowledged)
        with Store.open(path) as store:
            assert store.check() == []
            known = {concept.name.split()[1]: concept for concept in store.concepts()}
            size = store.size()
        assert {step: known.get(step) for step in kept} == kept
        new = known.keys() - kept.keys()
        for step, verb in acknowledged.items():
            gone = verb == "forget" or (verb == "edit" and int(step) % 7 == 3 and step not in known)
            assert (step in new) is not gone
            assert gone or known[step].info == f"info {step}" or verb == "remember"
        assert new - acknowledged.keys() <= {str(max(map(int, acknowledged), default=first - 1) + 1)}
        for step in new:
            assert len(known[step].views) == 1
            whole = (known[step].info, known[step].aliases)
            assert whole in (("", ()), (f"info {step}", (f"alias {step}",)))
        assert size["view"] == size["vector"] == size["concept"] == len(known)
        assert size["journal"] == len(known) + size["alias"]
        kept = known
    assert changes > 20
