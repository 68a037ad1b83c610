"""Memory of a real question: told before the language model is loaded, and the most that it took."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from kinsight.assistant import Assistant, Lesson
from kinsight.errors import KinsightError, ModelError
from kinsight.home import open_home
from kinsight.llm import Held
from kinsight.llm.serving import failed
from kinsight.llm.wire import Failed, receive, send

if TYPE_CHECKING:
    from kinsight.bundle import Bundle
    from kinsight.config import DeviceConfig

QUESTION = "What are they doing there?"
_K = 3  # taught, and in every photo
_SEED = 8


@dataclass(frozen=True)
class Asking:
    """What a process of its own is to do: open a home, and ask about photos."""

    home: Path
    bundle: Bundle
    device: DeviceConfig
    worker: bool  # and the language model in another one
    photos: Sequence[Path]


def measured(bundle: Bundle, device: DeviceConfig, photos: int, worker: bool = False) -> Held:
    """What a `kinsight ask` takes, of all its processes; asked about so many drawn photos one after another.

    Three that are in the photos are taught before, in this process. Raises what asking raises.
    """
    from kinsight.drawn.album import Recipe, draw_album, write_album  # not in the process that is measured

    with tempfile.TemporaryDirectory() as scratch:
        home = open_home(Path(scratch) / "home")
        album = draw_album(_SEED, Recipe(concepts=_K, scenes=photos, size_wh=(1024, 768)))
        taught, seen = write_album(album, Path(scratch) / "photos")
        with Assistant(home, bundle, device) as teacher:
            for pupil, picture in zip(album.pupils, taught, strict=True):
                teacher.remember(picture, Lesson(pupil.name, pupil.individual.kind, pupil.info), region=0)
        message = BytesIO()
        send(message, Asking(home.folder, bundle, device, worker, seen))
        line = [sys.executable, "-m", "kinsight.bench.memory"]
        run = subprocess.run(line, input=message.getvalue(), capture_output=True, check=False)
    if run.returncode:
        said = run.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ModelError(f"the process that was asked ended ({said[:300]})", "measure again")
    found = receive(BytesIO(run.stdout))
    if isinstance(found, Failed):
        raise found.error()
    assert isinstance(found, Held)
    return found


def _asked(wanted: Asking) -> Held:
    with Assistant(open_home(wanted.home), wanted.bundle, wanted.device, worker=wanted.worker) as assistant:
        for photo in wanted.photos:
            assistant.ask(QUESTION, photo)
        return assistant.llm.memory()


def main() -> None:
    """The program: what is to be done comes in, what it took goes out."""
    try:
        found: Held | Failed = _asked(receive(sys.stdin.buffer))
    except KinsightError as error:
        found = failed(error)
    send(sys.stdout.buffer, found)


if __name__ == "__main__":
    main()
