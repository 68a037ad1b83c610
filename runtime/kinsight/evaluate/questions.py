"""Asks who, where and whether about every photo of known identities, and holds the answers to the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kinsight.assistant import Assistant, Lesson
from kinsight.chat import Chat
from kinsight.errors import ConfigError
from kinsight.evaluate.shots import Progress, counted, identities_in, photos_in, read_boxes, strangers_in
from kinsight.image import load
from kinsight.metrics import names_mentioned
from kinsight.prompt import denies, place
from kinsight.recall import Rules
from kinsight.types import Photo

NAMES = (
    "Lala", "Momo", "Zoë", "Bruno", "Käthe", "Ann Lee", "Yuki", "Olu", "Rosalind", "Pip", "Tomás", "Wanda",
    "Iris", "Kofi", "Nadia", "Otto", "Quinn", "Sasha", "Uma", "Viggo",
)  # fmt: skip
_TOLD = (
    ("What does {name} like most?", "{name} likes blueberries most of all.", "blueberries"),
    ("Where does {name} come from?", "{name} comes from Lisbon.", "Lisbon"),
    ("What did {name} cost?", "{name} cost twelve euros at the flea market.", "twelve"),
    ("Who gave me {name}?", "{name} was a present from aunt Greta.", "Greta"),
    ("When did I get {name}?", "I got {name} in March 2021.", "March"),
)  # question, info, the word that a right answer holds


KINDS = ("who", "where", "present", "absent", "caption", "stranger", "told")


@dataclass
class Tally:
    """Questions of one kind and how they were answered.

    `abstained`: recall did not accept the right one, and the answer names nobody in its place.
    """

    asked: int = 0
    right: int = 0
    abstained: int = 0
    wrong: list[str] = field(default_factory=list)  # photo: question -> answer


@dataclass
class Interview:
    """What came out."""

    tallies: dict[str, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS})
    stray: list[str] = field(
        default_factory=list
    )  # answers that name who is neither accepted nor asked about
    plain: int = 0  # answers of the model that gave way to plain words
    answered_of: dict[str, set[str]] = field(default_factory=dict)  # identity -> kinds answered right
    wrong_of: dict[str, int] = field(default_factory=dict)  # identity -> wrong answers about it

    def questions(self) -> int:
        """How many were asked."""
        return sum(tally.asked for tally in self.tallies.values())

    def subjects_right(self) -> int:
        """Identities with nothing wrong, and who, where and presence right in at least one photo."""
        needed = {"who", "where", "present", "told"}
        return sum(needed <= kinds and not self.wrong_of[name] for name, kinds in self.answered_of.items())


class Interviewer:
    """Teaches every identity of a folder from one photo under an invented name, then asks about the rest."""

    def __init__(
        self, assistant: Assistant, folder: Path, progress: Progress, fits: Mapping[str, Rules] | None = None
    ) -> None:
        """`fits` gives each identity the rules fitted on others; without it the bundle's own hold for all.

        Raises ConfigError where there are fewer than two identities, or more than names.
        """
        self.assistant, self.folder, self.progress = assistant, folder, progress
        self._fits = fits or {}
        self.result = Interview()
        identities = identities_in(folder)
        if len(identities) > len(NAMES):
            raise ConfigError(f"{folder} has {len(identities)} identities", f"give at most {len(NAMES)}")
        self.names = dict(zip(identities, NAMES, strict=False))
        self._taught_from: set[Path] = set()

    def run(self, strangers: Sequence[Path]) -> Interview:
        """Asks everything; `strangers` are folders with photos of nobody, ConfigError where one has none."""
        nobody = strangers_in(strangers)
        self._teach()
        photos = [(path, identity) for identity in self.names for path in photos_in(self.folder / identity)]
        photos = [(path, identity) for path, identity in photos if path not in self._taught_from]
        for turn, (path, identity) in enumerate(counted(self.progress, "photos asked about", photos)):
            self._decide_by(identity)
            self._ask_about(load(path), identity, turn)
        identities = list(self.names)
        for turn, path in enumerate(counted(self.progress, "strangers asked about", nobody)):
            self._decide_by(identities[turn % len(identities)])
            self._ask("stranger", "Who is in this photo?", self.assistant.chat(path))
        for row, (identity, name) in enumerate(self.names.items()):
            question, _, word = _TOLD[row % len(_TOLD)]
            text = self._ask("told", question.format(name=name), self.assistant.chat(), name)
            self._judge("told", identity, word.casefold() in text.casefold(), f"{question}: {text}")
        return self.result

    def _decide_by(self, identity: str) -> None:
        """From here on the rules that were not fitted on this identity decide."""
        if identity in self._fits:
            self.assistant.rules = self._fits[identity]

    def _teach(self) -> None:
        boxes = read_boxes(self.folder)
        for row, (identity, name) in enumerate(self.names.items()):
            photos = photos_in(self.folder / identity)
            keys = [path.relative_to(self.folder).as_posix() for path in photos]
            path = next((path for path, key in zip(photos, keys, strict=True) if key in boxes), photos[0])
            photo = load(path)
            box = boxes.get(path.relative_to(self.folder).as_posix())
            in_pixels = box and (
                box[0] * photo.width, box[1] * photo.height, box[2] * photo.width, box[3] * photo.height
            )  # fmt: skip
            friend = NAMES[(row + 1) % len(self.names)]
            info = f"{_TOLD[row % len(_TOLD)][1].format(name=name)} {name} and {friend} are friends."
            self.assistant.remember(
                photo, Lesson(name, info=info), box=in_pixels or (0, 0, photo.width, photo.height)
            )
            self._taught_from.add(path)
            self.result.answered_of[identity], self.result.wrong_of[identity] = set(), 0

    def _ask_about(self, photo: Photo, identity: str, turn: int) -> None:
        """Who, where, present, one absent name and a caption, in one talk about one photo of an identity."""
        name, scene = self.names[identity], self.assistant.look(photo)
        chat = self.assistant.chat(photo)
        rows = [row for row, match in scene.accepted() if match.concept == name]
        others = [match.concept for _, match in scene.accepted() if match.concept != name]
        absent = [other for other in self.names.values() if other != name][turn % (len(self.names) - 1)]
        where = place(scene, rows[0]).split()[-2:] if rows and rows[0] is not None else []

        text = self._ask("who", "Who is in this photo?", chat)
        self._judge_seen("who", identity, bool(rows), not others and not denies(text), text)
        text = self._ask("where", f"Where is {name}?", chat, name)
        placed = all(word in text for word in where if word != "the") and not denies(text)
        self._judge_seen("where", identity, bool(rows), placed, text)
        text = self._ask("present", f"Is {name} in the photo?", chat, name)
        self._judge_seen("present", identity, bool(rows), not denies(text), text)
        text = self._ask("absent", f"Is {absent} in the photo?", chat, absent)
        self._judge(
            "absent", identity, denies(text) and absent not in others, f"{photo.name}, {absent}: {text}"
        )

        text = self._ask("caption", "", self.assistant.chat(photo))
        self._judge_seen("caption", identity, bool(rows), not others and not denies(text), text)

    def _ask(self, kind: str, question: str, chat: Chat, asked: str = "") -> str:
        text = (chat.ask(question) if question else chat.caption()).text
        scene = chat.scene
        self.result.tallies[kind].asked += 1
        self.result.plain += chat.plain
        accepted = {match.concept for _, match in scene.accepted()} if scene else set()
        if stray := names_mentioned(text, self.names.values()) - accepted - {asked}:
            self.result.stray.append(f"{question} {text} names {', '.join(stray)}")
        if kind == "stranger":
            self._count(kind, not names_mentioned(text, self.names.values()), f"{question}: {text}")
        return text

    def _judge_seen(self, kind: str, identity: str, accepted: bool, right: bool, text: str) -> None:
        """An answer about somebody in the photo: right, or abstained where recall did not accept them."""
        named = self.names[identity] in names_mentioned(text, self.names.values())
        if not accepted and (
            kind not in ("who", "caption") or not names_mentioned(text, self.names.values())
        ):
            self.result.tallies[kind].abstained += 1
        else:
            self._judge(kind, identity, accepted and named and right, f"{identity}: {text}")

    def _judge(self, kind: str, identity: str, right: bool, what: str) -> None:
        self._count(kind, right, what)
        if right:
            self.result.answered_of[identity].add(kind)
        else:
            self.result.wrong_of[identity] += 1

    def _count(self, kind: str, right: bool, what: str) -> None:
        tally = self.result.tallies[kind]
        tally.right += right
        if not right:
            tally.wrong.append(what)
