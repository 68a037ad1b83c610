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
from pathlib import Path

from kinsight.assistant import Assistant, Choices, Lesson
from kinsight.drawn.album import Album, Recipe, draw_album
from kinsight.image import decode, encode_jpeg
from kinsight.llm import Generation, Picture, Text, Turn, engine
from kinsight.llm.memory import resident_bytes

SETTLED = 50  # questions
MOST_GROWTH = 0.05
PICTURES_CAP, STATES_CAP = 1 << 20, 8 << 20  # bytes: so small that they are reached
CANCELLED = 20
QUESTIONS = ("Who is in this photo?", "What is NAME doing?", "Where is NAME?", "What colour is NAME?")


def ask_many(assistant: Assistant, album: Album, folder: Path) -> dict[str, float]:
    """Every picture of an album once; memory after the first 50 and in the end, and the most on disk."""
    settled, most_on_disk = 0, 0
    for row, query in enumerate(album.queries):
        photo = decode(encode_jpeg(query.drawing.pixels), f"{row}.jpg")
        name = album.pupils[row % len(album.pupils)].name
        answer = assistant.ask(QUESTIONS[row % len(QUESTIONS)].replace("NAME", name), photo)
        assert answer.text
        if row + 1 == SETTLED:
            settled = resident_bytes()
        if row % 25 == 0:
            most_on_disk = max(most_on_disk, on_disk(folder))
            print(
                f"{row} asked, {resident_bytes() / (1 << 20):.1f} MiB, disk {most_on_disk}", file=sys.stderr
            )
    return {
        "questions": len(album.queries),
        "settled_mb": settled / (1 << 20),
        "end_mb": resident_bytes() / (1 << 20),
        "growth": resident_bytes() / settled - 1 if settled else 0.0,
        "most_on_disk_bytes": most_on_disk,
    }


def on_disk(folder: Path) -> int:
    """Bytes of the caches, without the 48 in front of each value."""
    return sum(file.stat().st_size for file in folder.rglob("*.blob*"))


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
    options.add_argument("--worker", action="store_true", help="the language model in a process of its own")
    chosen = options.parse_args()
    engine.PICTURES_DISK, engine.STATES_DISK = PICTURES_CAP, STATES_CAP
    album = draw_album(11, Recipe(concepts=3, scenes=chosen.questions))
    with (
        tempfile.TemporaryDirectory() as scratch,
        Assistant.open(Choices(Path(scratch), "pocket", None, chosen.worker)) as assistant,
    ):
        for pupil in album.pupils:
            photo = decode(encode_jpeg(pupil.drawing.pixels), "taught.jpg")
            assistant.remember(photo, Lesson(pupil.name, info=pupil.info), region=0)
        result = ask_many(assistant, album, assistant.home.readings)
        result |= {"cancelled_well": cancel(assistant, album), "unmixed": two_at_once(assistant, album)}
    caps = PICTURES_CAP + STATES_CAP
    result["under_cap"] = result["most_on_disk_bytes"] <= caps * 1.01
    print(json.dumps({"stress": "llm", **result, "cap_bytes": caps}))
    good = result["cancelled_well"] and result["unmixed"] and result["under_cap"]
    sys.exit(not (good and result["growth"] < MOST_GROWTH))


if __name__ == "__main__":
    main()
