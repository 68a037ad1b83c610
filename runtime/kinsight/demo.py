"""Shows the main job on real photos: teach some identities, look, ask, and know no strangers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinsight.assistant import Assistant, Choices, Lesson
from kinsight.bundle import find_bundle, pocket_folder
from kinsight.chat import Chat
from kinsight.config import load_device
from kinsight.errors import ConfigError, MissingPackage, ModelError
from kinsight.evaluate import photos_in, read_boxes
from kinsight.home import open_home
from kinsight.image import Mark, annotate, contact_sheet, load, save
from kinsight.marks import scene_marks
from kinsight.types import Box, Photo, Pixels, Scene

FRIENDS = (
    Lesson("Lala", info="Lala came to us in the spring of 2021. Lala was named by Grandma."),
    Lesson("Milo", info="Milo was a birthday present from Aunt Rosa."),
    Lesson("Nino", info="Nino comes from the flea market in Lisbon."),
    Lesson("Otto", info="Otto has been with us since the house was built."),
    Lesson("Pia", info="Pia belongs to our neighbour Hanna."),
    Lesson("Zaza", info="Zaza is the favourite of the children."),
)
_STRANGERS = 4
_SHEET_COLUMNS = 4
_CELL_WH = (360, 360)  # pixels
_NEED_PHOTOS = "pass --photos with a folder that holds one folder of two photos or more per identity"


@dataclass(frozen=True)
class Pupil:
    """An identity of the photos, taught from one and looked for in another; without a lesson a stranger."""

    folder: str
    reference: Path
    box: Box | None  # in the reference, shares of width and height, 0..1
    query: Path
    lesson: Lesson | None


class Demo:
    """The demo; `say` is given every line of it."""

    def __init__(self, choices: Choices, say: Callable[[str], None]) -> None:
        self._choices = choices
        self._say = say
        self._sheet: list[tuple[Pixels, str]] = []  # picture, caption

    def run(self, photos: Path | None, out: Path) -> None:
        """Teaches, looks and asks in a throw-away home, and writes pictures into `out`.

        Raises ConfigError without photos or a folder to write in, BundleError without a bundle.
        """
        pupils = choose_pupils(photos)
        _make_folder(out)
        with tempfile.TemporaryDirectory(prefix="kinsight-demo-") as scratch:
            choices, reason = throw_away(self._choices, Path(scratch))
            with Assistant.open(choices) as assistant:
                self._say(f"Bundle {assistant.bundle.name}: {reason}")
                self._teach(assistant, pupils)
                scenes = self._look(assistant, pupils, out)
                self._ask(assistant, pupils, scenes)
        pictures, captions = zip(*self._sheet, strict=True)
        save(contact_sheet(pictures, captions, _SHEET_COLUMNS, _CELL_WH), out / "sheet.jpg")
        self._say(f"\nThe annotated pictures are in {out}, all together in {out / 'sheet.jpg'}")

    def _teach(self, assistant: Assistant, pupils: Sequence[Pupil]) -> None:
        lessons = [(pupil, pupil.lesson) for pupil in pupils if pupil.lesson]
        self._say(f"\nTeaching {len(lessons)} of {len(pupils)}, from one photo each")
        for pupil, lesson in lessons:
            photo = load(pupil.reference)
            started = time.perf_counter()
            box = assistant.remember(photo, lesson, _box_of(pupil, photo)).views[0].xyxy
            spent = 1e3 * (time.perf_counter() - started)
            self._say(f"  {_short(pupil.reference)} is {lesson.name} ({spent:.0f} ms)")
            picture = annotate(photo.pixels, [Mark(box, lesson.name, "accepted")])
            self._sheet.append((picture, f"taught: {lesson.name}"))

    def _look(self, assistant: Assistant, pupils: Sequence[Pupil], out: Path) -> dict[str, Scene]:
        """The scene of every pupil's query, by its folder."""
        self._say("\nLooking at other photos of these, and of strangers")
        scenes = {pupil.folder: assistant.look(pupil.query) for pupil in pupils}
        for pupil in pupils:
            scene = scenes[pupil.folder]
            named = [match.concept for _, match in scene.accepted()]
            maybe = [f"maybe {match.concept}" for _, match in scene.unsure()]
            words = ", ".join([*named, *maybe]) or "nobody known"
            self._say(f"  {_short(pupil.query)}, {_name(pupil)}: {words}")
            picture = annotate(scene.photo.pixels, scene_marks(scene))
            save(picture, out / f"{pupil.folder}-{pupil.query.stem}.jpg")
            self._sheet.append((picture, words))
        self._say(f"  {_counted(pupils, scenes)}; per photo {_mean_times(list(scenes.values()))}")
        return scenes

    def _ask(self, assistant: Assistant, pupils: Sequence[Pupil], scenes: Mapping[str, Scene]) -> None:
        started = time.perf_counter()
        try:
            sees = assistant.llm.part.sees
        except (MissingPackage, ModelError) as error:
            self._say(f"\nNothing is asked: {error}")
            return
        spent = 1e3 * (time.perf_counter() - started)
        self._say(f"\nAsking; the language model sees {sees}, loading it took {spent:.0f} ms")
        friends = [pupil for pupil in pupils if pupil.lesson]
        present = next((pupil for pupil in friends if scenes[pupil.folder].accepted()), friends[0])
        absent = next((pupil for pupil in friends if pupil is not present), present)
        who, name = "Who is in this photo?", _name(present)
        about_present = (
            who,
            f"Where is {name}?",
            f"Is {name} in the photo?",
            f"Is {_name(absent)} in the photo?",
        )
        self._talk(assistant.chat(scenes[present.folder].photo), present, about_present)
        for stranger in [pupil for pupil in pupils if not pupil.lesson][:1]:
            self._talk(assistant.chat(scenes[stranger.folder].photo), stranger, (who,))
        self._talk(assistant.chat(), None, (f"What do you know about {_name(absent)}?",))

    def _talk(self, chat: Chat, pupil: Pupil | None, questions: Sequence[str]) -> None:
        """Questions about one photo, after its caption, or without one."""
        self._say(f"\n  {_short(pupil.query)}, {_name(pupil)}" if pupil else "\n  Without a photo")
        answers = [("Caption", chat.caption())] if pupil else []
        answers += [(question, chat.ask(question)) for question in questions]
        for question, answer in answers:
            first = answer.timings_ms.get("first_token", 0.0)
            decoding = answer.timings_ms.get("decode", 0.0)
            self._say(
                f"  {question}  {answer.text}  (first token {first:.0f} ms, the rest {decoding:.0f} ms)"
            )


def choose_pupils(photos: Path | None) -> list[Pupil]:
    """Every other identity of a folder is taught, up to six; of the others four stay strangers."""
    if photos is None or not photos.is_dir():
        where = f"there is no folder {photos}" if photos else "the demo has no photos"
        raise ConfigError(where, _NEED_PHOTOS)
    boxes = read_boxes(photos)
    folders = {sub.name: photos_in(sub) for sub in sorted(photos.iterdir()) if sub.is_dir()}
    names = [name for name, files in folders.items() if len(files) > 1]
    if len(names) < 2:
        raise ConfigError(f"{photos} holds {len(names)} folders with two photos or more", _NEED_PHOTOS)
    taught = names[::2][: len(FRIENDS)]
    strangers = [name for name in names if name not in taught][:_STRANGERS]
    lessons = dict(zip(taught, FRIENDS, strict=False))
    return [_pupil(photos / name, folders[name], boxes, lessons.get(name)) for name in (*taught, *strangers)]


def throw_away(choices: Choices, scratch: Path) -> tuple[Choices, str]:
    """(the same bundle and device with another home, why this bundle)."""
    device = load_device(choices.device)
    installed = open_home(choices.home).bundles
    folder, reason = find_bundle(choices.bundle, device.bundle, installed, pocket_folder())
    return Choices(scratch / "home", str(folder.absolute()), choices.device), reason


def _pupil(folder: Path, files: Sequence[Path], boxes: Mapping[str, Box], lesson: Lesson | None) -> Pupil:
    """The boxed photo is the reference, else the first one."""
    keys = {f"{folder.name}/{file.name}": file for file in files}
    reference = next((file for key, file in keys.items() if key in boxes), files[0])
    query = next(file for file in files if file != reference)
    return Pupil(folder.name, reference, boxes.get(f"{folder.name}/{reference.name}"), query, lesson)


def _box_of(pupil: Pupil, photo: Photo) -> Box:
    """In pixels; the whole photo where nobody drew a box."""
    x0, y0, x1, y1 = pupil.box or (0.0, 0.0, 1.0, 1.0)
    return x0 * photo.width, y0 * photo.height, x1 * photo.width, y1 * photo.height


def _name(pupil: Pupil) -> str:
    return pupil.lesson.name if pupil.lesson else "a stranger"


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _counted(pupils: Sequence[Pupil], scenes: Mapping[str, Scene]) -> str:
    """How many were named, rightly and wrongly."""
    named = {folder: {match.concept for _, match in scene.accepted()} for folder, scene in scenes.items()}
    friends = [pupil for pupil in pupils if pupil.lesson]
    strangers = [pupil for pupil in pupils if not pupil.lesson]
    right = sum(named[pupil.folder] == {_name(pupil)} for pupil in friends)
    wrong = sum(bool(named[pupil.folder]) for pupil in strangers)
    return f"{right} of {len(friends)} recognised, {wrong} of {len(strangers)} strangers wrongly named"


def _mean_times(scenes: Sequence[Scene]) -> str:
    stages = scenes[0].timings_ms
    mean = {stage: sum(scene.timings_ms[stage] for scene in scenes) / len(scenes) for stage in stages}
    return ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in mean.items())


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise ConfigError(
            f"cannot make the folder {out} ({reason.strerror})", "pass another one with --out"
        ) from None
