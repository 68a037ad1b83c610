"""Which of several candidates is taken, and why the others are not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kinsight.errors import ModelError, ParityError
from kinsight_export.gate import Check, Report
from kinsight_export.gate.choice import Candidate, choose, plot_choice, print_choice
from kinsight_export.room import check_room, free_memory


def candidate(name: str, loss: float, megabytes: float, milliseconds: float) -> Candidate:
    report = Report("llm", "the source", (Check("divergence", "a text", "mean KL", loss, 0.05),))
    return Candidate(name, (Path(name),), megabytes, milliseconds, report)


F16 = candidate("f16", 0.0, 100, 50.0)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([], "f16"),
        ([candidate("q8", 0.01, 50, 40.0), candidate("q4", 0.04, 30, 30.0)], "q4"),
        ([candidate("q8", 0.01, 50, 40.0), candidate("q4", 0.06, 30, 30.0)], "q8"),
        ([candidate("q8", 0.01, 50, 60.0)], "f16"),
        ([candidate("q8", 0.01, 50, 50.5)], "q8"),  # as fast but for the clock's noise, and smaller
        ([candidate("q8", float("nan"), 50, 10.0)], "f16"),
        ([candidate("q8", 0.02, 50, 40.0), candidate("other q8", 0.01, 50.5, 41.0)], "other q8"),
        ([candidate("q8", 0.01, 50, 40.0), candidate("other q8", 0.02, 49.5, 39.0)], "q8"),
        ([candidate("q8", 0.02, 45, 40.0), candidate("other q8", 0.01, 50, 40.0)], "q8"),
    ],
)
def test_the_fastest_within_the_loss_wins(others: list[Candidate], chosen: str) -> None:
    assert choose([F16, *others]).chosen.name == chosen


def test_those_refused_say_why() -> None:
    choice = choose(
        [
            F16,
            candidate("q8", 0.01, 50, 40.0),
            candidate("q4", 0.06, 30, 30.0),
            candidate("big", 0.0, 200, 40.1),
            candidate("worse", 0.02, 50, 40.1),
        ]
    )
    verdicts = {each.name: verdict for each, verdict in choice.verdicts}
    assert verdicts == {
        "f16": "refused: 1.25 times the time of q8",
        "q8": "chosen",
        "q4": "refused: divergence, mean KL 0.06, must be at most 0.05",
        "big": "refused: as fast as q8, and bigger",
        "worse": "refused: as fast as q8, and less like the source",
    }
    assert choice.table()["q4"] == {
        "megabytes": 30,
        "milliseconds": 30.0,
        "verdict": verdicts["q4"],
        "divergence": 0.06,
    }


def test_none_that_keeps_its_limits_is_an_error() -> None:
    with pytest.raises(ParityError, match=r"mean KL 0\.2, must be at most 0\.05"):
        choose([candidate("f16", 0.2, 1, 1.0)])


@pytest.mark.parametrize("load", [0.5, 100.0])
def test_a_choice_is_shown_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: float) -> None:
    """And on a busy machine, that its times are rough."""
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    choice = choose([F16, candidate("q4", 0.06, 30, 30.0)])
    out = io.StringIO()
    print_choice(choice, out)
    plot_choice(choice, tmp_path / "choice.png")
    said = " ".join(out.getvalue().split())
    assert "chosen" in said
    assert ("100.0 processes want to run on 4 cores: the times are rough" in said) == (load > 6)
    assert (tmp_path / "choice.png").read_bytes().startswith(b"\x89PNG")


def test_room_is_asked_for_before_anything_begins(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9000 kB\nMemAvailable:    2000 kB\n", encoding="utf-8")
    assert free_memory(meminfo) == 2_048_000
    assert free_memory(tmp_path / "none") is None
    check_room("it", tmp_path, 1, 2_048_000, meminfo)
    with pytest.raises(ModelError, match=r"it needs 3\.0 GB of memory, and 0\.0 GB are free: close"):
        check_room("it", tmp_path, 1, 3_000_000_000, meminfo)
    with pytest.raises(ModelError, match=r"it needs 1000000000\.0 GB on the disk of .* are free: make room"):
        check_room("it", tmp_path, 10**18, 1, meminfo)
