"""Runs a programme: teaches, looks, captions and asks in a throw-away home, and draws what it saw."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kinsight.assistant import Assistant, Choices
from kinsight.bundle import find_bundle, pocket_folder
from kinsight.chat import Chat
from kinsight.config import load_device
from kinsight.demo.programme import (
    Friend,
    Look,
    Programme,
    drawn_programme,
    named_in,
    photo_programme,
)
from kinsight.errors import ConfigError, MissingPackage, ModelError
from kinsight.home import open_home
from kinsight.image import Mark, annotate, contact_sheet, load, save
from kinsight.marks import scene_marks
from kinsight.types import Answer, Box, Photo, Pixels, Scene

_SHEET_COLUMNS = 4
_CELL_WH = (360, 316)  # pixels


class Demo:
    """The demo; `say` is given every line of it."""

    def __init__(self, choices: Choices, say: Callable[[str], None]) -> None:
        self._choices = choices
        self._say = say
        self._sheet: list[tuple[Pixels, str]] = []  # picture, caption

    def run(self, photos: Path | None, seed: int, out: Path) -> None:
        """Runs on the photos, else on an album drawn from the seed into `out`; all its pictures go there.

        Raises ConfigError where a bundle for photos gets none, or `out` cannot be made, BundleError without a
        bundle.
        """
        _make_folder(out)
        with tempfile.TemporaryDirectory(prefix="kinsight-demo-") as scratch:
            choices, reason = throw_away(self._choices, Path(scratch))
            with Assistant.open(choices) as assistant:
                drawn = photos is None and assistant.bundle.world == "drawn"
                programme = drawn_programme(seed, out / "album") if drawn else photo_programme(photos)
                self._say(f"Bundle {assistant.bundle.name}: {reason}")
                self._teach(assistant, programme.friends)
                scenes = self._look(assistant, programme.looks, out)
                self._ask(assistant, programme, scenes)
        pictures, captions = zip(*self._sheet, strict=True)
        save(contact_sheet(pictures, captions, _SHEET_COLUMNS, _CELL_WH), out / "sheet.jpg")
        self._say(f"\nThe annotated pictures are in {out}, all together in {out / 'sheet.jpg'}")
        self._say(f"{counted(programme.looks, scenes)}.\n\nTry next:")
        for line in next_commands(programme, self._choices.bundle):
            self._say(f"  {line}")

    def _teach(self, assistant: Assistant, friends: Sequence[Friend]) -> None:
        self._say(f"\nTeaching {len(friends)}, from one picture each")
        for friend in friends:
            photo = load(friend.picture)
            started = time.perf_counter()
            box = assistant.remember(photo, friend.lesson, _pixels(friend.box, photo)).views[0].xyxy
            spent = 1e3 * (time.perf_counter() - started)
            self._say(f"  {_short(friend.picture)} is {friend.name}: {friend.lesson.info} ({spent:.0f} ms)")
            picture = annotate(photo.pixels, [Mark(box, friend.name, "accepted")])
            self._sheet.append((picture, f"taught: {friend.name}"))

    def _look(self, assistant: Assistant, looks: Sequence[Look], out: Path) -> list[Scene]:
        """The scene of every look."""
        self._say("\nLooking at other pictures: who is there, and who is recognised")
        scenes = []
        for look in looks:
            scene = assistant.look(look.picture)
            maybe = [f"maybe {match.concept}" for _, match in scene.unsure()]
            words = ", ".join([*named_in(scene), *maybe]) or "nobody known"
            self._say(f"  {_short(look.picture)}, {look.truth}: {words} ({_times(scene.timings_ms)})")
            picture = annotate(scene.photo.pixels, scene_marks(scene))
            save(picture, out / f"{look.picture.parent.name}-{look.picture.stem}.jpg")
            self._sheet.append((picture, words))
            scenes.append(scene)
        return scenes

    def _ask(self, assistant: Assistant, programme: Programme, scenes: Sequence[Scene]) -> None:
        started = time.perf_counter()
        try:
            sees = assistant.llm.part.sees
        except (MissingPackage, ModelError) as error:
            self._say(f"\nNothing is asked: {error}")
            return
        spent = 1e3 * (time.perf_counter() - started)
        self._say(f"\nAsking; the language model sees {sees}, loading it took {spent:.0f} ms")
        questions = programme.questions(scenes, sees != "nothing")
        for row, look in enumerate(programme.looks):
            self._say(f"\n  {_short(look.picture)}, {look.truth}")
            chat = assistant.chat(scenes[row].photo)
            self._answer("Caption", chat.caption())
            self._talk(chat, questions.get(row, []))
        self._say("\n  Without a photo")
        for question in programme.without_photo():
            self._talk(assistant.chat(), [question])

    def _talk(self, chat: Chat, questions: Sequence[str]) -> None:
        for question in questions:
            self._answer(question, chat.ask(question))

    def _answer(self, question: str, answer: Answer) -> None:
        first = answer.timings_ms.get("first_token", 0.0)
        decoding = answer.timings_ms.get("decode", 0.0)
        self._say(f"  {question}  {answer.text}  (first token {first:.0f} ms, the rest {decoding:.0f} ms)")


def throw_away(choices: Choices, scratch: Path) -> tuple[Choices, str]:
    """(the same bundle and device with another home, why this bundle)."""
    device = load_device(choices.device)
    installed = open_home(choices.home).bundles
    folder, reason = find_bundle(choices.bundle, device.bundle, installed, pocket_folder())
    return Choices(scratch / "home", str(folder.absolute()), choices.device), reason


def counted(looks: Sequence[Look], scenes: Sequence[Scene]) -> str:
    """How many were named, rightly and wrongly."""
    named = [set(named_in(scene)) for scene in scenes]
    right = sum(len(names & set(look.present)) for names, look in zip(named, looks, strict=True))
    wrong = sum(len(names - set(look.present)) for names, look in zip(named, looks, strict=True))
    due, strangers = sum(len(look.present) for look in looks), sum(look.strangers for look in looks)
    return f"{right} of {due} recognised; {wrong} wrongly named, among {strangers} strangers"


def next_commands(programme: Programme, bundle: str | None) -> list[str]:
    """What the user can try now: teach the first friend in a home of their own, and ask about a picture."""
    friend = programme.friends[0]
    look = next(look for look in programme.looks if friend.name in look.present)
    kinsight = ["kinsight", *(["--bundle", bundle] if bundle else [])]
    kind = ["--category", friend.lesson.category] if friend.lesson.category else []
    return [
        shlex.join([*kinsight, "remember", str(friend.picture), "--name", friend.name, *kind]),
        shlex.join([*kinsight, "ask", str(look.picture), f"Where is {friend.name}?"]),
    ]


def _pixels(shares: Box, photo: Photo) -> Box:
    x0, y0, x1, y1 = shares
    return x0 * photo.width, y0 * photo.height, x1 * photo.width, y1 * photo.height


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _times(stages_ms: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {spent:.0f} ms" for stage, spent in stages_ms.items())


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise ConfigError(
            f"cannot make the folder {out} ({reason.strerror})", "pass another one with --out"
        ) from None
