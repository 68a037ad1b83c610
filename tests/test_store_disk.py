"""A disk that is full, or read-only, at every write of every verb: a clear error, and nothing is lost."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kinsight.image import save
from kinsight.store import Key, Store, is_encrypted, keys
from terminal import Said, Terminal, fine
from tiny import Blob, draw

KIB = 1024
VERBS: dict[str, list[str]] = {
    "remember": ["remember", "new.png", "--name", "New"],
    "another view": ["remember", "red.png", "--name", "Lala", "--add"],
    "not": ["not", "new.png", "Lala", "--region", "1"],
    "edit": ["edit", "Lala", "--alias", "Lalita", "--info", "x" * 9000],
    "edit away": ["edit", "Lala", "--no-view", "2", "--no-negative", "1"],
    "merge": ["merge", "Tom", "--into", "Lala"],
    "split": ["split", "Lala", "2", "--into", "Part"],
    "move": ["move", "2", "--from", "Lala", "--to", "Tom"],
    "undo": ["undo", "2"],
    "forget": ["forget", "Lala", "--yes"],
    "forget view": ["forget", "Lala", "--view", "2", "--yes"],
    "forget negative": ["forget", "Lala", "--negative", "1", "--yes"],
    "album add": ["album", "add", "photos"],
    "album remove": ["album", "remove", "red.png"],
    "import": ["store", "import", "exported", "--on-conflict", "rename"],
    "backup": ["store", "backup", "DISK/backup.zip"],
    "export": ["store", "export", "DISK/out"],
    "restore": ["store", "restore", "backup.zip", "--yes"],
    "vault on": ["vault", "on", "--key-file", "key"],
}
LEVELS = (0, 4, 12, 24, 40, 56, 80, 120, 200, 400)
"""KiB that are left."""
QUICK = {("edit", 24), ("remember", 40), ("import", 56), ("vault on", 80), ("backup", 24), ("album add", 56)}


@dataclass
class Disk:
    """A small file system of its own."""

    folder: Path

    def leave(self, kib: int) -> None:
        """Fill it but for so much."""
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            free = shutil.disk_usage(self.folder).free
            filler.write(bytes(max(0, free - kib * KIB)))

    def empty(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)

    def read_only(self, only: bool) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if only else 'rw'}", self.folder], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        why = made.stderr.strip() if made.returncode else ""
    except OSError as error:
        why = str(error)
    if why:
        pytest.skip(f"only root may make a small disk to be filled ({why})")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos; the home, a backup and an exported folder come with the first use."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "photos").mkdir()
    for name, colour in (("red", "red"), ("blue", "blue"), ("green", "green"), ("new", "yellow")):
        for place in (folder, folder / "photos"):
            save(draw([Blob(colour, (60, 200, 220, 420))]), place / f"{name}.png")
    return folder


@pytest.fixture
def kinsight(
    desk: Path,
    disk: Disk,
    tiny_bundle: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Terminal]:
    """At the desk, with a home that has seen some life on the small disk."""
    monkeypatch.chdir(desk)
    monkeypatch.setattr(keys, "COST", {"n": 2, "r": 8, "p": 1})
    template = Terminal(desk / "home", tiny_bundle, capfd)
    if not (desk / "exported").exists():
        for line in (
            "remember red.png --name Lala",
            "remember green.png --name Lala --add",
            "remember blue.png --name Tom",
            "not new.png Lala --region 1",
            "album add red.png",
            "edit Tom --category cat",
            "edit Tom --info cat",
            "store backup backup.zip",
            "store export exported",
        ):
            fine(template(*line.split()))
    shutil.copytree(desk / "home", disk.folder / "home", symlinks=True)
    terminal = Terminal(disk.folder / "home", tiny_bundle, capfd)
    fine(terminal("vault", "status"))
    yield terminal
    disk.read_only(False)
    for path in disk.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (desk / "key").unlink(missing_ok=True)


def content(home: Path) -> object:
    """All that a sound store holds, whether it is encrypted or not."""
    path = home / "store.db"
    with Store.open(path, key=lambda _: Key.of_file(Path("key"))) as store:
        assert store.check() == []
        concepts = store.concepts()
        pictures = [store.view_picture(view.id) for concept in concepts for view in concept.views]
        pictures += [store.picture("negative", one.id) for concept in concepts for one in concept.negatives]
        return concepts, pictures, store.history(), store.album.photos(), store.encrypted


def traces(home: Path, verb: str) -> list[bytes]:
    """What a verb that forgets leaves nowhere."""
    if verb == "forget":
        return [b"Lala"]
    if not verb.startswith("forget"):
        return []
    with Store.open(home / "store.db") as store:
        seen = store.vectors("tiny-1")
        vector = seen.views[1] if verb == "forget view" else seen.negatives[0]
        return [vector.astype("<f4").tobytes(), base64.b64encode(vector.astype("<f4").tobytes())]


def line(verb: str, disk: Disk) -> list[str]:
    return [word.replace("DISK", str(disk.folder)) for word in VERBS[verb]]


def refused(said: Said, words: str) -> None:
    """One sentence with the mend, and no word of success."""
    assert said.code == 1, said
    assert said.out == "" or said.out.startswith("0 photos"), said.out
    sentence = said.err.splitlines()[-1]
    assert sentence.startswith("kinsight: ") and words in sentence, said.err
    assert "internal error" not in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(
    "verb,level",
    [
        pytest.param(verb, level, marks=[] if (verb, level) in QUICK else [pytest.mark.stress])
        for verb in VERBS
        for level in LEVELS
    ],
)
def test_a_full_disk(verb: str, level: int, kinsight: Terminal, disk: Disk) -> None:
    before = content(kinsight.home)
    forgotten = traces(kinsight.home, verb)
    disk.leave(level)
    said = kinsight(*line(verb, disk))
    disk.empty()
    if said.code == 0:
        return
    refused(said, "free some space" if "with room" not in said.err else "")
    after = content(kinsight.home)
    if "is forgotten, but traces" in said.err:  # the deed itself is done; opening it has finished the rest
        assert forgotten and not any(part in (kinsight.home / "store.db").read_bytes() for part in forgotten)
        return
    assert after == before
    fine(kinsight(*line(verb, disk)))


@pytest.mark.parametrize("verb", [pytest.param(verb, marks=pytest.mark.stress) for verb in VERBS])
def test_some_level_is_too_little_and_some_is_enough(verb: str, kinsight: Terminal, disk: Disk) -> None:
    """Else the test above would show nothing."""
    disk.leave(LEVELS[0])
    assert kinsight(*line(verb, disk)).code == 1
    disk.empty()
    fine(kinsight(*line(verb, disk)))


@pytest.mark.parametrize("verb", VERBS)
def test_a_read_only_disk(verb: str, kinsight: Terminal, disk: Disk) -> None:
    before = content(kinsight.home)
    disk.read_only(True)
    said = kinsight(*line(verb, disk))
    disk.read_only(False)
    refused(said, "Read-only file system")
    assert content(kinsight.home) == before and not is_encrypted(kinsight.home / "store.db")
