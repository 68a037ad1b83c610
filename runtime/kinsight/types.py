"""The frozen dataclasses that travel between rooms, with shape, dtype and unit at every array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""uint8 (height, width, 3), RGB, 0..255."""
Floats = NDArray[np.float32]
"""float32; every use says its shape and unit."""
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright photo, x0 < x1 and y0 < y1."""
Decision = Literal["accepted", "unsure", "unknown"]
Kind = Literal["view", "negative"]


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded picture, turned upright."""

    pixels: Pixels  # uint8 (height, width, 3), RGB, 0..255
    sha256: str  # of the file's bytes, hex
    name: str  # the path as the user gave it, or "" for bytes
    decode_ms: float = 0.0  # milliseconds

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True, eq=False)
class Regions:
    """Boxes that a detector found in one photo, as parallel arrays, best score first."""

    xyxy: Floats  # float32 (n, 4), pixels of the upright photo, inside it
    scores: Floats  # float32 (n,), 0..1
    labels: tuple[str, ...]  # n

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.xyxy.shape != (n, 4) or self.scores.shape != (n,):
            raise ValueError(
                f"expected xyxy ({n}, 4) and scores ({n},), got {self.xyxy.shape} and {self.scores.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def none() -> Regions:
        """No region at all."""
        return Regions(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())

    def take(self, rows: list[int]) -> Regions:
        """The regions at these rows, in this order."""
        return Regions(self.xyxy[rows], self.scores[rows], tuple(self.labels[row] for row in rows))

    def box(self, row: int) -> Box:
        """One box as plain floats."""
        x0, y0, x1, y1 = (float(v) for v in self.xyxy[row])
        return x0, y0, x1, y1


@dataclass(frozen=True, eq=False)
class Eyed:
    """What the vision models made of a photo, before anybody is recognised."""

    regions: Regions
    vectors: Floats  # float32 (n + 1, dim), unit length: the regions, then the whole photo
    timings_ms: dict[str, float] = field(default_factory=dict)  # detect, embed, faces; milliseconds
    faces: Floats | None = None  # float32 (n + 1, face dim), zeros where none is seen; None: nobody looked


@dataclass(frozen=True, eq=False)
class ClassVectors:
    """What a detector is to look for, where it is told so in vectors."""

    labels: tuple[str, ...]  # n
    vectors: Floats  # float32 (n, dim), unit length


@dataclass(frozen=True)
class Objection:
    """What the negatives say against a match: the one of them that asks for most."""

    negative_id: int
    similarity: float  # cosine with the negative, of the faces where those were compared, -1..1
    exceed: float  # what the cosine with the view must exceed because of it


@dataclass(frozen=True)
class Match:
    """One region (or the whole photo) held against one concept."""

    concept: str  # its name
    concept_id: int
    view_id: int  # the nearest view
    similarity: float  # cosine, -1..1
    probability: float  # that both show the same individual, 0..1
    margin: float  # probability minus that of the next concept, -1..1
    decision: Decision
    score: float = 0.0  # what the probability was read off for: the similarities, less the cohort's
    against: Objection | None = None  # None where no negative speaks of it
    face: float | None = None  # cosine of the faces; None where one of them was not seen, or nobody looked
    refused: bool = False  # a negative speaks against it, or against a likelier region of which it is a part
    claim: float = 0.0  # what the probability would be but for the negatives, 0..1


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo with everything computed from it once."""

    photo: Photo
    bundle: str  # its name
    regions: Regions
    vectors: Floats  # float32 (n + 1, dim), unit length: n regions, last row the whole photo
    matches: tuple[tuple[Match, ...], ...]  # per region, best first
    whole_photo: tuple[Match, ...]  # of the whole photo, best first; these carry no position
    timings_ms: Mapping[str, float]  # decode, detect, embed, recall; milliseconds

    def accepted(self) -> list[tuple[int | None, Match]]:
        """(row of the region or None for the whole photo, match) of every accepted concept."""
        return self._decided("accepted")

    def unsure(self) -> list[tuple[int | None, Match]]:
        """(row of the region or None for the whole photo, match) of every concept that is only a maybe."""
        return self._decided("unsure")

    def _decided(self, decision: Decision) -> list[tuple[int | None, Match]]:
        found: list[tuple[int | None, Match]] = [
            (row, match)
            for row, matches in enumerate(self.matches)
            for match in matches
            if match.decision == decision
        ]
        return found + [(None, match) for match in self.whole_photo if match.decision == decision]


@dataclass(frozen=True)
class View:
    """One reference crop of a concept; its picture stays in the store."""

    id: int
    xyxy: Box  # in the source photo, pixels
    photo_sha256: str
    created: str  # UTC, ISO 8601


@dataclass(frozen=True)
class Concept:
    """Something that the user named: a person, a pet, an object, a place."""

    id: int
    name: str
    aliases: tuple[str, ...] = ()
    category: str = ""
    info: str = ""
    fingerprint: Mapping[str, Any] | None = field(default=None, hash=False)  # attributes (R2P)
    views: tuple[View, ...] = ()
    negatives: tuple[View, ...] = ()
    created: str = ""  # UTC, ISO 8601
    changed: str = ""  # UTC, ISO 8601

    def crops(self, kind: Kind) -> tuple[View, ...]:
        """The views or the negatives."""
        return self.views if kind == "view" else self.negatives

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)


@dataclass(frozen=True)
class Answer:
    """What kinsight said to one question."""

    question: str
    text: str
    concepts_used: tuple[str, ...]
    scene: Scene | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)  # prompt, cached, answer
    timings_ms: Mapping[str, float] = field(default_factory=dict)  # first_token, encode, prefill, decode


def match_json(match: Match) -> dict[str, Any]:
    """The JSON shape of one match."""
    return {
        "concept": match.concept,
        "similarity": round(match.similarity, 4),
        "probability": round(match.probability, 4),
        "margin": round(match.margin, 4),
        "decision": match.decision,
        **({} if match.face is None else {"face": round(match.face, 4)}),
    }


def scene_json(scene: Scene) -> dict[str, Any]:
    """The `look` JSON shape, format 1."""
    regions = scene.regions
    return {
        "format": 1,
        "photo": {"sha256": scene.photo.sha256, "width": scene.photo.width, "height": scene.photo.height},
        "bundle": scene.bundle,
        "regions": [
            {
                "id": row + 1,
                "xyxy": [round(v, 1) for v in regions.box(row)],
                "label": regions.labels[row],
                "score": round(float(regions.scores[row]), 4),
                "matches": [match_json(match) for match in scene.matches[row]],
            }
            for row in range(len(regions))
        ],
        "whole_photo": [match_json(match) for match in scene.whole_photo],
        "timings_ms": {name: round(ms, 2) for name, ms in scene.timings_ms.items()},
    }


def answer_json(answer: Answer) -> dict[str, Any]:
    """The `ask` JSON shape, format 1; `look` is null for a question without a photo."""
    return {
        "format": 1,
        "look": scene_json(answer.scene) if answer.scene else None,
        "question": answer.question,
        "answer": answer.text,
        "concepts_used": list(answer.concepts_used),
        "tokens": dict(answer.tokens),
        "timings_ms": {name: round(ms, 2) for name, ms in answer.timings_ms.items()},
    }
