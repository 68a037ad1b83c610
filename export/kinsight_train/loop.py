"""The training loop that all parts share: batches made ahead, resumed to the bit, weights averaged."""

from __future__ import annotations

import math
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from kinsight.errors import ConfigError, ModelError

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
Losses = dict[str, Tensor]
"""Name -> what is minimised, a number; the sum counts, each is printed."""

CHECKPOINT = "checkpoint.pt"
_LAST_LR = 0.05  # of the peak
_MOST_GRADIENT = 1.0  # its norm
_DECAY = 0.999  # of the averaged weights, a step
_BETAS = 0.9, 0.98
_AHEAD = 2  # batches a worker


@dataclass(frozen=True)
class Schedule:
    """How long, on how much at a time and how fast a module learns."""

    steps: int
    batch: int  # pictures, sentences, ... a step
    peak_lr: float
    warmup: int  # steps
    weight_decay: float = 0.05
    save_every: int = 200  # steps
    seed: int = 0
    muon: str = ""  # matrices with this in their name learn by Muon, the rest by AdamW; "": all by AdamW

    def lr(self, step: int) -> float:
        """Rises in a line to the peak, then falls along a cosine to a twentieth of it."""
        if step < self.warmup:
            return self.peak_lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak_lr * (_LAST_LR + (1 - _LAST_LR) * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class Run:
    """Where a training keeps its checkpoint, whom it tells, and how many processes make its batches."""

    folder: Path
    report: Callable[[str], None]
    workers: int = 1  # 0: batches are made in this process
    report_every: int = 20  # steps


def train(
    module: nn.Module,
    schedule: Schedule,
    batch_of: Callable[[int], T],
    loss_of: Callable[[nn.Module, T], Losses],
    run: Run,
) -> None:
    """Train to the end of the schedule, from the checkpoint in the folder where there is one.

    `batch_of` must depend on the step alone: a training that was stopped then goes on as if it had not been,
    equal to the bit. With workers it is pickled, so it is a module's function or a dataclass with `__call__`.
    `loss_of` puts the batch on the module's device; it runs under bfloat16 autocast.
    Ctrl-C and SIGTERM wait for the end of the step, write the checkpoint, and then act as usual.
    ConfigError where the checkpoint has another schedule, ModelError where it does not fit or a loss is nan.
    """
    course = _Course(module, schedule, run.folder / CHECKPOINT)
    first = course.step
    meter = _Meter(run, schedule, first)
    steps = range(first, schedule.steps)
    with _noted_signals() as stops, _made_ahead(batch_of, steps, run.workers) as batches:
        for batch in batches:
            meter.count(course.learn(batch, loss_of), course.step)
            if course.step % schedule.save_every == 0 or course.step == schedule.steps or stops:
                course.save()
            if stops:
                run.report(f"stopped after step {course.step}; the same command goes on from there")
                break
    if stops:
        signal.raise_signal(stops[0])
        raise KeyboardInterrupt  # whoever handles that signal: this training is not at its end


def load_average(module: M, folder: Path) -> M:
    """The module with the averaged weights of the checkpoint, ready to run or to export; ModelError."""
    file = folder / CHECKPOINT
    _fit(file, lambda: module.load_state_dict(_read(file)["average"]))
    module.eval()
    return module


def device() -> torch.device:
    """CUDA where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Course:
    """A module on its way: weights, averaged weights, optimizer and step, as the checkpoint has them."""

    def __init__(self, module: nn.Module, schedule: Schedule, file: Path) -> None:
        self.module = module.to(device()).train()
        self.average = deepcopy(self.module)
        self.optimizers = _optimizers(self.module, schedule)
        self.schedule = schedule
        self.file = file
        self.step = 0
        if file.exists():
            self._resume()

    def learn(self, batch: T, loss_of: Callable[[nn.Module, T], Losses]) -> dict[str, float]:
        """One step; name -> loss."""
        torch.manual_seed(self.schedule.seed * 1_000_003 + self.step)  # dropout, equal after a resume
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.schedule.lr(self.step)
        with torch.autocast(device().type, torch.bfloat16):
            losses = loss_of(self.module, batch)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        if not torch.isfinite(total):
            raise ModelError(f"the loss of step {self.step} is {total.item()}", "lower peak_lr, start again")
        self.module.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), _MOST_GRADIENT)
        for optimizer in self.optimizers:
            optimizer.step()
        self._average_in()
        self.step += 1
        return {name: loss.item() for name, loss in losses.items()}

    def save(self) -> None:
        """Whole or not at all: the old checkpoint stays until the new one is on the disk."""
        state = {
            "step": self.step,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedule": asdict(self.schedule),
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        with part.open("wb") as out:
            torch.save(state, out)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self.file)

    def _resume(self) -> None:
        state = _read(self.file)
        if state["schedule"] != asdict(self.schedule):
            raise ConfigError(
                f"{self.file} was begun with another schedule ({state['schedule']})",
                "give the same schedule, or another folder",
            )
        targets = [self.module, self.average, *self.optimizers]
        kept = [state["module"], state["average"], *state["optimizers"]]
        if len(kept) != len(targets):
            raise ModelError(f"{self.file} is of another training", "train in another folder")
        for target, weights in zip(targets, kept, strict=True):
            _fit(self.file, partial(target.load_state_dict, weights))
        self.step = state["step"]

    def _average_in(self) -> None:
        """At the start the average follows closely: a decay of .1, .18, .25, ... up to .999."""
        decay = min(_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(_tensors(self.average), _tensors(self.module), strict=True):
                if value.is_floating_point():
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Each once, also where two layers share it."""
    return chain(module.parameters(), module.buffers())


def _optimizers(module: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon (K. Jordan, 2024; with AdamW's step size by arXiv 2502.16982) where the schedule says.

    What is a vector (norms, biases) does not decay.
    """
    named = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    matrices = {n: w for n, w in named.items() if schedule.muon and schedule.muon in n and w.ndim == 2}
    others = [weight for name, weight in named.items() if name not in matrices]
    groups = [
        {"params": [weight for weight in others if weight.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [weight for weight in others if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, schedule.peak_lr, _BETAS, fused=True)
    if not schedule.muon:
        return [adam]
    muon = torch.optim.Muon(
        matrices.items(),
        lr=schedule.peak_lr,
        weight_decay=schedule.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return [adam, muon]


def _read(file: Path) -> dict[str, Any]:
    mend = "restore it, or remove it and train again"
    try:
        state = torch.load(file, map_location=device(), weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"there is no {file}", "train first") from None
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise ModelError(f"{file} cannot be read ({str(error)[:100]})", mend) from error
    if not isinstance(state, dict) or state.keys() != {"step", "module", "average", "optimizers", "schedule"}:
        raise ModelError(f"{file} is no checkpoint", mend)
    return state


def _fit(file: Path, load: Callable[[], object]) -> None:
    try:
        load()
    except (RuntimeError, ValueError, KeyError) as error:
        raise ModelError(
            f"{file} is of another network ({' '.join(str(error).split())[:100]})",
            "train in another folder, or check out the version that wrote it",
        ) from error


class _Meter:
    """Tells the losses, the speed and the time left every few steps."""

    def __init__(self, run: Run, schedule: Schedule, step: int) -> None:
        self.run, self.schedule = run, schedule
        self.sums: dict[str, float] = {}
        self.since = step
        self.clock = time.perf_counter()
        if step:
            run.report(f"goes on after step {step} of {schedule.steps}")

    def count(self, losses: dict[str, float], step: int) -> None:
        """After a step; `step` is how many are done."""
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss
        if step % self.run.report_every == 0 or step == self.schedule.steps:
            self.run.report(self._line(step))
            self.sums, self.since, self.clock = {}, step, time.perf_counter()

    def _line(self, step: int) -> str:
        count, seconds = step - self.since, time.perf_counter() - self.clock
        losses = "  ".join(f"{name} {total / count:.4f}" for name, total in self.sums.items())
        left = round((self.schedule.steps - step) * seconds / count)
        speed = count * self.schedule.batch / seconds
        where = f"step {step}/{self.schedule.steps}"
        return f"{where}  {losses}  {speed:.0f}/s  {left // 60}:{left % 60:02d} left"


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """The stop signals that came so far: noted only, so that none cuts a step in two."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield came
        return
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _made_ahead(batch_of: Callable[[int], T], steps: range, workers: int) -> Iterator[Iterable[T]]:
    """The batches of these steps, in their order."""
    if not workers or not steps:
        yield map(batch_of, steps)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _live_with_the_parent)
    try:
        yield _in_order(pool, batch_of, steps, workers * _AHEAD)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, batch_of: Callable[[int], T], steps: range, ahead: int
) -> Iterator[T]:
    waiting: deque[Future[T]] = deque()
    for step in steps:
        waiting.append(pool.submit(batch_of, step))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _live_with_the_parent() -> None:
    """A worker leaves Ctrl-C to its parent and ends where the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def follow() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
