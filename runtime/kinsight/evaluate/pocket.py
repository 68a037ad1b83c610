"""Teaches a drawn album from one picture each, asks about all of it, and holds the answers to its truth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from kinsight.assistant import Assistant, Lesson
from kinsight.chat import Chat
from kinsight.drawn.album import Album, Query, write_album
from kinsight.errors import RegionError
from kinsight.evaluate.judging import Kind, Reply, claims, has_words, right
from kinsight.evaluate.shots import Progress, counted
from kinsight.metrics import (
    absent_naming_rate,
    caption_name_scores,
    iou,
    recognition_weighted,
)
from kinsight.types import Box, Regions, Scene

WHO = "Who is in this photo?"
FIGURES = {
    "recall_at_1": "the right concept is the nearest, of all appearances",
    "caption_name_f1": "names in captions, F1",
    "presence_weighted": '"Is NAME in this photo?", mean of there and not there',
    "absent_naming": "who-answers and captions that name somebody absent",
    "position": '"Where is NAME?"',
    "text_qa": "what was told, or never told, asked without a photo",
    "caption_claims": "what captions tell beside names: who is where, the surroundings",
    "in_plain_words": "answers in plain words, as the model's own was refused",
}
"""Figure of `PocketBench.run`, 0..1 -> what it is, in words."""
LINES = {
    "recall_at_1": 0.95,
    "caption_name_f1": 0.90,
    "presence_weighted": 0.92,
    "absent_naming": 0.05,
    "position": 0.85,
    "text_qa": 0.90,
}
"""What the built-in bundle has to reach with any seed: at least, of absent_naming at most."""
_SAME_BOX_IOU = 0.5
Times = dict[str, list[float]]
"""Stage -> milliseconds of each time."""


@dataclass(frozen=True)
class Sighting:
    """A concept in a picture, and whom recall found nearest to it."""

    name: str
    nearest: str  # "" where no region is where it is


@dataclass
class Notes:
    """Everything that was seen, said and measured."""

    replies: list[Reply] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    look_ms: Times = field(default_factory=dict)
    answer_ms: Times = field(default_factory=dict)
    boxed: int = 0  # concepts that were taught by their true box, since several things could be meant

    def of(self, *kinds: Kind) -> list[Reply]:
        """The replies of some kinds."""
        return [reply for reply in self.replies if reply.kind in kinds]


class PocketBench:
    """Puts an album to an assistant that knows nobody yet."""

    def __init__(self, assistant: Assistant, album: Album, progress: Progress) -> None:
        self._assistant, self._album, self._progress = assistant, album, progress
        self._notes = Notes()

    def run(self, folder: Path) -> dict[str, object]:
        """The figures, as the last line of the bench gives them; the pictures go into `folder`.

        Raises ModelError or MissingPackage where there is no language model.
        """
        started = time.perf_counter()
        llm = self._assistant.bundle.language_model
        self._assistant.check_llm()
        taught, seen = write_album(self._album, folder)
        self._teach(taught)
        for row, path in enumerate(counted(self._progress, "pictures asked about", seen)):
            self._ask_about(path, self._album.queries[row], row)
        for pupil in counted(self._progress, "concepts asked about", self._album.pupils):
            for told in pupil.told:
                wrong = tuple(value for value in told.values if value != told.value)
                self._ask(self._assistant.chat(), told.question, Reply("told", "", told.value, wrong))
            made_up = tuple(value for value in pupil.untold.values if not has_words(pupil.info, [value]))
            self._ask(self._assistant.chat(), pupil.untold.question, Reply("untold", others=made_up))
        notes = self._notes
        return {
            "format": 1,
            "bench": "pocket",
            "bundle": self._assistant.bundle.name,
            "seed": self._album.seed,
            **scores(notes, self._album.names),
            "caption_claims": _share(true for reply in notes.of("caption") for true in claims(reply)),
            "in_plain_words": _share(reply.plain for reply in notes.replies),
            "llm_sees": llm.sees,
            "counts": self._counts(),
            "seconds": round(time.perf_counter() - started, 1),
            "look_ms": medians(notes.look_ms),
            "answer_ms": medians(notes.answer_ms),
        }

    def _teach(self, paths: Sequence[Path]) -> None:
        """Each from its picture; where several things could be meant, with the box that a user would draw."""
        for row, path in enumerate(counted(self._progress, "concepts taught", paths)):
            pupil = self._album.pupils[row]
            lesson = Lesson(pupil.name, pupil.individual.kind, pupil.info)
            try:
                self._assistant.remember(path, lesson)
            except RegionError:
                self._assistant.remember(path, lesson, box=pupil.drawing.things[0].xyxy)
                self._notes.boxed += 1

    def _ask_about(self, path: Path, query: Query, row: int) -> None:
        scene = self._assistant.look(path)
        _time(self._notes.look_ms, scene.timings_ms)
        present, names = tuple(query.present), tuple(self._album.names)
        for name, thing in query.present.items():
            self._notes.sightings.append(Sighting(name, nearest(scene, thing.xyxy)))

        places = (*map(query.where, present), query.drawing.place)
        asked = [
            ("", Reply("caption", others=names, present=present, places=places)),
            (WHO, Reply("who", present=present)),
        ]
        for name in present:
            asked.append((f"Where is {name}?", Reply("where", name, query.where(name), names)))
            asked.append((f"Is {name} in this photo?", Reply("present", name, others=names)))
        for name in absent(query, names, row):
            asked.append((f"Is {name} in this photo?", Reply("absent", name, others=names)))
        for question, about in asked:
            self._ask(self._assistant.chat(scene.photo), question, about)

    def _ask(self, chat: Chat, question: str, about: Reply) -> None:
        """Each question in a talk of its own; without a question a caption."""
        answer = chat.ask(question) if question else chat.caption()
        self._notes.replies.append(replace(about, text=answer.text, plain=chat.plain))
        _time(self._notes.answer_ms, answer.timings_ms)

    def _counts(self) -> dict[str, int]:
        album, notes = self._album, self._notes
        return {
            "concepts": len(album.pupils),
            "taught_by_box": notes.boxed,
            "pictures": len(album.queries),
            "appearances": len(notes.sightings),
            "strangers": sum(len(query.strangers) for query in album.queries),
            "look_alikes": sum(len(query.doubles) for query in album.queries),
            "asked_present": len(notes.of("present")),
            "asked_absent": len(notes.of("absent")),
            "asked_told": len(notes.of("told")),
            "asked_untold": len(notes.of("untold")),
            "answers": len(notes.replies),
        }


def scores(notes: Notes, names: Sequence[str]) -> dict[str, float]:
    """The six figures, 0..1; `names` are those of all concepts. 0 where nothing was asked."""
    captions = notes.of("caption")
    naming = notes.of("who", "caption")
    present = [right(reply) for reply in notes.of("present")]
    missing = [right(reply) for reply in notes.of("absent")]
    due = [reply.present for reply in captions]
    caption_scores = caption_name_scores([reply.text for reply in captions], due, names) if captions else None
    return {
        "recall_at_1": _share(sight.name == sight.nearest for sight in notes.sightings),
        "caption_name_f1": caption_scores.f1 if caption_scores else 0.0,
        "presence_weighted": recognition_weighted(present, missing) if present and missing else 0.0,
        "absent_naming": absent_naming_rate(
            [reply.text for reply in naming], [reply.present for reply in naming], names
        ),
        "position": _share(right(reply) for reply in notes.of("where")),
        "text_qa": _share(right(reply) for reply in notes.of("told", "untold")),
    }


def missed(run: Mapping[str, object]) -> list[str]:
    """The figures of a run that do not reach their line."""
    figures = {name: float(str(run[name])) for name in LINES}
    return [
        name
        for name, line in LINES.items()
        if (figures[name] > line if name == "absent_naming" else figures[name] < line)
    ]


def nearest(scene: Scene, box: Box) -> str:
    """The concept that is nearest to the region that fits a true box; "" without such a region or concept."""
    row = region_at(scene.regions, box)
    matches = () if row is None else scene.matches[row]
    return matches[0].concept if matches else ""


def region_at(regions: Regions, box: Box) -> int | None:
    """Row of the region that fits a true box best; None where none fits it."""
    if not len(regions):
        return None
    overlaps = iou(regions.xyxy, np.array([box], np.float32))[:, 0]
    row = int(overlaps.argmax())
    return row if overlaps[row] >= _SAME_BOX_IOU else None


def absent(query: Query, names: Sequence[str], turn: int) -> Iterator[str]:
    """Who is asked about though not there: all whose look-alike is, and as many others."""
    others = [name for name in names if name not in (*query.present, *query.doubles)]
    for row, name in enumerate(query.doubles):
        yield name
        if others:
            yield others[(7 * turn + row) % len(others)]


def medians(times_ms: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Of every stage, milliseconds."""
    return {stage: round(statistics.median(spent), 1) for stage, spent in times_ms.items()}


def _time(times_ms: Times, stages_ms: Mapping[str, float]) -> None:
    for stage, spent in stages_ms.items():
        times_ms.setdefault(stage, []).append(spent)


def _share(rights: Iterable[bool]) -> float:
    """0 where there is nothing to share."""
    judged = [bool(one) for one in rights]
    return sum(judged) / len(judged) if judged else 0.0
