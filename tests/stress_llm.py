"""The language model over a long day: `python tests/stress_llm.py --questions 500` on the built-in bundle.

Asks about as many different pictures, cancels streams, asks from two threads at once; the last line is JSON,
and the exit code says whether memory, disk and answers stayed as they should.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from kinsight.assistant import Assistant, Choices, Lesson
from kinsight.drawn.album import Album, Recipe, draw_album
from kinsight.image import decode, encode_jpeg
from kinsight.llm import Generation, Picture, Text, Turn, engine
from kinsight.llm.memory import resident_bytes

SETTLED = 50  # questions
MOST_GROWTH = 0.05
CAPS = {"pictures": 1 << 18, "states": 2 << 20}  # bytes: so small that they are reached
REACHED = 0.8  # of a cap: the next value may not have fitted
LOOK_S = 0.01
CANCELLED = 20
QUESTIONS = ("Who is in this photo?", "What is NAME doing?", "Where is NAME?", "What colour is NAME?")


def ask_many(assistant: Assistant, album: Album, folder: Path) -> dict[str, Any]:
    """Every picture of an album once; memory after the first 50 and in the end."""
    settled = 0
    for row, query in enumerate(album.queries):
        photo = decode(encode_jpeg(query.drawing.pixels), f"{row}.jpg")
        name = album.pupils[row % len(album.pupils)].name
        answer = assistant.ask(QUESTIONS[row % len(QUESTIONS)].replace("NAME", name), photo)
        assert answer.text
        if row + 1 == SETTLED:
            settled = resident_bytes()
        if row % 25 == 0:
            print(
                f"{row} asked, {resident_bytes() / (1 << 20):.1f} MiB, disk {on_disk(folder)}",
                file=sys.stderr,
            )
    return {
        "questions": len(album.queries),
        "settled_mb": settled / (1 << 20),
        "end_mb": resident_bytes() / (1 << 20),
        "growth": resident_bytes() / settled - 1 if settled else 0.0,
    }


def on_disk(folder: Path) -> int:
    """Bytes of all files of a cache, also of those that are being written."""
    total = 0
    for file in folder.rglob("*.blob*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


class Watch:
    """Looks at the caches on disk all the time, for the most that they ever hold."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._over = folder, threading.Event()
        self.most = dict.fromkeys(CAPS, 0)
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            for name in CAPS:
                self.most[name] = max(self.most[name], on_disk(self._folder / name))


def asked(album: Album, row: int) -> list[Turn]:
    """A question about one picture without any facts."""
    return [Turn("user", (Picture(album.queries[row].drawing.pixels), Text(f"What is in photo {row}?")))]


def cancel(assistant: Assistant, album: Album) -> bool:
    """Whether an answer is the same after streams that were left in the middle."""
    llm = assistant.llm
    before = "".join(llm.generate(asked(album, 0), Generation(24)))
    for row in range(CANCELLED):
        stream = llm.generate(asked(album, row % len(album.queries)), Generation(24))
        next(stream, "")
        stream.close()
    return "".join(llm.generate(asked(album, 0), Generation(24))) == before


def two_at_once(assistant: Assistant, album: Album) -> bool:
    """Whether two threads get the answers that one alone gets."""
    llm, rows = assistant.llm, range(min(10, len(album.queries)))
    alone = ["".join(llm.generate(asked(album, row), Generation(24))) for row in rows]
    found: list[dict[int, str]] = [{}, {}]

    def ask(answers: dict[int, str], order: list[int]) -> None:
        for row in order:
            answers[row] = "".join(llm.generate(asked(album, row), Generation(24)))

    orders = [list(rows), list(rows)[::-1]]
    threads = [threading.Thread(target=ask, args=pair) for pair in zip(found, orders, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return all([answers[row] for row in rows] == alone for answers in found)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--questions", type=int, default=500, help="each about another picture")
    chosen = options.parse_args()
    engine.PICTURES_DISK, engine.STATES_DISK = CAPS.values()
    album = draw_album(11, Recipe(concepts=3, scenes=chosen.questions))
    with (
        tempfile.TemporaryDirectory() as scratch,
        Assistant.open(Choices(Path(scratch), "pocket", None)) as assistant,
    ):
        for pupil in album.pupils:
            photo = decode(encode_jpeg(pupil.drawing.pixels), "taught.jpg")
            assistant.remember(photo, Lesson(pupil.name, info=pupil.info), region=0)
        with Watch(assistant.home.readings) as watch:
            result = ask_many(assistant, album, assistant.home.readings)
        result |= {"cancelled_well": cancel(assistant, album), "unmixed": two_at_once(assistant, album)}
    result["under_cap"] = all(watch.most[name] <= cap for name, cap in CAPS.items())
    result["cap_reached"] = all(watch.most[name] >= REACHED * cap for name, cap in CAPS.items())
    print(json.dumps({"stress": "llm", **result, "most_on_disk_bytes": watch.most, "cap_bytes": CAPS}))
    good = all(result[key] for key in ("cancelled_well", "unmixed", "under_cap", "cap_reached"))
    sys.exit(not (good and result["growth"] < MOST_GROWTH))


if __name__ == "__main__":
    main()
