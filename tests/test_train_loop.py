"""The training loop: goes on to the bit, survives a kill, keeps one schedule, makes batches ahead."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinsight.errors import ConfigError, ModelError
from kinsight.types import Floats

torch = pytest.importorskip("torch")
loop = pytest.importorskip("kinsight_train.loop")
pytestmark = pytest.mark.train

SCHEDULE = loop.Schedule(steps=24, batch=16, peak_lr=0.03, warmup=4, save_every=10)


def numbers(step: int) -> Floats:
    """float32 (16, 4); the last column is what is to be learned from the others."""
    rows = np.random.default_rng((1, step)).normal(size=(16, 4)).astype(np.float32)
    rows[:, 3] = rows[:, 0] - 2 * rows[:, 1]
    return rows


@dataclass
class Lesson:
    """A loss that remembers what it was, and that something happens at one of its calls."""

    at: int = -1
    what: Callable[[], None] = lambda: None
    seen: list[float] = field(default_factory=list)

    def __call__(self, module: Any, rows: Floats) -> dict[str, Any]:
        if len(self.seen) == self.at:
            self.what()
        batch = torch.from_numpy(rows)
        loss = (module(batch[:, :3])[:, 0].float() - batch[:, 3]).square().mean()
        self.seen.append(loss.item())
        return {"square": loss}


def network() -> Any:
    torch.manual_seed(3)
    nn = torch.nn
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Dropout(0.1), nn.Linear(8, 1))


def run_in(folder: Path, workers: int = 0) -> Any:
    return loop.Run(folder, print, workers, report_every=5)


def weights(module: Any) -> list[Any]:
    return list(module.state_dict().values())


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[float], Path]:
    """A training that nothing stopped: the module, its losses, its folder."""
    folder, module, lesson = tmp_path_factory.mktemp("whole"), network(), Lesson()
    loop.train(module, SCHEDULE, numbers, lesson, run_in(folder))
    return module, lesson.seen, folder


def test_the_loss_falls(whole: tuple[Any, list[float], Path]) -> None:
    _, losses, _ = whole
    assert len(losses) == SCHEDULE.steps
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def ask_to_stop() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("at", "what", "kept"),
    [(17, raise_interrupt, 10), (17, ask_to_stop, 18), (0, ask_to_stop, 1)],
    ids=["killed", "Ctrl-C", "Ctrl-C in the first step"],
)
def test_goes_on_to_the_bit(
    at: int, what: Callable[[], None], kept: int, whole: tuple[Any, list[float], Path], tmp_path: Path
) -> None:
    module, losses, folder = whole
    with pytest.raises(KeyboardInterrupt):
        loop.train(network(), SCHEDULE, numbers, Lesson(at, what), run_in(tmp_path))
    (tmp_path / "checkpoint.part").write_bytes(b"half a checkpoint, which is never read")
    again, lesson = network(), Lesson()
    loop.train(again, SCHEDULE, numbers, lesson, run_in(tmp_path))
    assert lesson.seen == losses[kept:]
    assert same(again, module)
    assert same(loop.load_average(network(), tmp_path), loop.load_average(network(), folder))


def test_muon_goes_on_to_the_bit_too(whole: tuple[Any, list[float], Path], tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, muon="weight")
    unbroken, again = Lesson(), Lesson()
    at_once, resumed = network(), network()
    loop.train(at_once, schedule, numbers, unbroken, run_in(tmp_path / "at once"))
    with pytest.raises(KeyboardInterrupt):
        loop.train(network(), schedule, numbers, Lesson(17, raise_interrupt), run_in(tmp_path / "resumed"))
    loop.train(resumed, schedule, numbers, again, run_in(tmp_path / "resumed"))
    assert again.seen == unbroken.seen[10:]
    assert same(at_once, resumed)
    assert not same(at_once, whole[0])
    assert np.mean(unbroken.seen[-5:]) < np.mean(unbroken.seen[:5])


def test_a_finished_training_is_left_alone(whole: tuple[Any, list[float], Path]) -> None:
    lesson, again = Lesson(), network()
    loop.train(again, SCHEDULE, numbers, lesson, run_in(whole[2], workers=1))
    assert lesson.seen == []
    assert same(again, whole[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_their_order(workers: int, tmp_path: Path) -> None:
    seen: list[int] = []

    def note(module: Any, rows: Any) -> dict[str, Any]:
        seen.append(int(rows[0, 0]))
        return {"sum": module(torch.from_numpy(rows).float()).sum()}

    loop.train(
        network(), replace(SCHEDULE, steps=9), partial(np.full, (2, 3)), note, run_in(tmp_path, workers)
    )
    assert seen == list(range(9))


class Tied(torch.nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.other = torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False)
        self.other.weight = self.one.weight

    def forward(self, rows: Any) -> Any:
        return self.other(self.one(rows))


def test_the_average_is_between(whole: tuple[Any, list[float], Path]) -> None:
    module, _, folder = whole
    average = loop.load_average(network(), folder)
    assert not average.training
    assert not same(average, module)
    assert weights(average)[-2] == pytest.approx(weights(module)[-2], abs=0.3)


def test_shared_weights_are_averaged_once(tmp_path: Path) -> None:
    start, module = Tied().one.weight.detach().clone(), Tied()
    loop.train(module, replace(SCHEDULE, steps=1), numbers, Lesson(), run_in(tmp_path))
    average = loop.load_average(Tied(), tmp_path)
    expected = start + 0.9 * (module.one.weight.detach() - start)
    assert torch.allclose(average.one.weight, expected)


@pytest.mark.parametrize("changed", [{"steps": 25}, {"seed": 1}, {"peak_lr": 0.01}])
def test_another_schedule_is_refused(changed: dict[str, Any], whole: tuple[Any, list[float], Path]) -> None:
    with pytest.raises(ConfigError, match="another schedule"):
        loop.train(network(), replace(SCHEDULE, **changed), numbers, Lesson(), run_in(whole[2]))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / loop.CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="cannot be read"):
        loop.train(network(), SCHEDULE, numbers, Lesson(), run_in(tmp_path))
    with pytest.raises(ModelError, match="there is no"):
        loop.load_average(network(), tmp_path / "elsewhere")


def test_another_network_is_refused(whole: tuple[Any, list[float], Path]) -> None:
    with pytest.raises(ModelError, match="another network"):
        loop.train(torch.nn.Linear(3, 1), SCHEDULE, numbers, Lesson(), run_in(whole[2]))


def test_a_loss_that_is_no_number_ends_it(tmp_path: Path) -> None:
    def broken(module: Any, rows: Floats) -> dict[str, Any]:
        return {"square": module(torch.from_numpy(rows[:, :3])).sum() * float("nan")}

    with pytest.raises(ModelError, match="loss of step 0 is nan"):
        loop.train(network(), SCHEDULE, numbers, broken, run_in(tmp_path))
    assert not (tmp_path / loop.CHECKPOINT).exists()


def test_the_rate_rises_then_falls() -> None:
    rates = [SCHEDULE.lr(step) for step in range(SCHEDULE.steps)]
    assert rates[0] == pytest.approx(SCHEDULE.peak_lr / 4)
    assert max(rates) == rates[3] == rates[4] == SCHEDULE.peak_lr
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert SCHEDULE.lr(SCHEDULE.steps) == pytest.approx(0.05 * SCHEDULE.peak_lr)


def test_what_it_tells(whole: tuple[Any, list[float], Path], tmp_path: Path) -> None:
    told: list[str] = []
    loop.train(network(), SCHEDULE, numbers, Lesson(), loop.Run(tmp_path, told.append, 0, 10))
    assert [line.split("  ")[0] for line in told] == ["step 10/24", "step 20/24", "step 24/24"]
    assert all("  square " in line and "/s  " in line for line in told)
    assert told[-1].endswith("0:00 left")
