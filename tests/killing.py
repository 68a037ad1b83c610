"""Kills a process that changes a store, and holds what is left against a store on which all went well.

Deed number n does the same on equal stores. The child says before and after each deed that it does; whatever
it said was done has to be there, the deed that it was at wholly or not at all.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from crops import crop
from damage import same
from kinsight.errors import KinsightError, VaultError
from kinsight.evidence import Memory
from kinsight.exchange import export_folder, read_folder
from kinsight.image import encode_jpeg
from kinsight.index import IndexFile
from kinsight.memory import read_memory
from kinsight.store import Changes, Key, Keys, Naming, NewView, Store, backup, keys, restore, rewrite
from kinsight.types import Concept
from photos import SEER, new_photo
from tiny import Blob, draw

VERBS = {
    "remember": 8,
    "view": 4,
    "negative": 2,
    "edit": 6,
    "take away": 2,
    "merge": 2,
    "split": 2,
    "move": 2,
    "undo": 2,
    "forget": 1,
    "forget crop": 2,
    "look": 4,
    "export": 1,
    "import": 1,
    "backup": 2,
    "restore": 1,
    "album add": 4,
    "album remove": 1,
    "hide": 1,
    "name": 2,
    "re-embed": 2,
    "vault": 2,
}
"""How often each is done."""
Content = tuple[object, ...]


@dataclass(frozen=True)
class Place:
    """A store, and beside it the backup and the folder that go out of it."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store.db"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def backup(self) -> Path:
        return self.folder / "backup.zip"

    @property
    def exported(self) -> Path:
        return self.folder / "exported"


def verb_of(number: int) -> str:
    return random.Random(number).choices([*VERBS], [*VERBS.values()])[0]


SECRETS = (None, Key(b"one"), Key(b"other"))
"""The keys that a store goes through, and none."""


@contextlib.contextmanager
def keys_at_once() -> Iterator[None]:
    """What a key costs is in the format, not in what is tested here."""
    cost, keys.COST = keys.COST, {"n": 2, "r": 8, "p": 1}
    try:
        yield
    finally:
        keys.COST = cost


def key_of(path: Path) -> Key | None:
    """Which of the keys fits now: a killed process leaves the old one or the new one."""
    for secret in SECRETS:
        with contextlib.suppress(VaultError):
            Store.open(path, key=given(secret)).close()
            return secret
    raise AssertionError(f"no key fits {path}")


def given(secret: Key | None) -> keys.KeySource | None:
    return None if secret is None else lambda _: secret


def opened(path: Path) -> Store:
    return Store.open(path, key=given(key_of(path)))


def bring_back(store: Path, archive: Path) -> None:
    """Restore a backup, whichever key it has."""
    own = given(key_of(store)) if store.exists() else None
    for secret in SECRETS:
        with contextlib.suppress(VaultError):
            restore(store, archive, keys=Keys(own, given(secret)))
            return
    raise AssertionError(f"no key fits {archive}")


def do(place: Place, number: int) -> None:
    """Deed `number`; one that is not possible changes nothing."""
    with contextlib.suppress(KinsightError, IndexError):
        if verb_of(number) == "restore":
            bring_back(place.store, place.backup)
        elif verb_of(number) == "vault":
            old, new = key_of(place.store), SECRETS[number % len(SECRETS)]
            rewrite(place.store, given(old), new)
        else:
            with opened(place.store) as store:
                change(store, place, number)


def change(store: Store, place: Place, number: int) -> None:
    dice = random.Random(-number)
    known = store.concepts()
    names = dice.sample([concept.name for concept in known], min(2, len(known)))
    match verb_of(number):
        case "remember":
            store.remember(picture(number), f"concept {number}", info=f"info {number}")
        case "view":
            store.add_view(names[0], picture(number))
        case "negative":
            store.add_negative(names[0], picture(number))
        case "edit":
            store.edit(names[0], Changes(info=f"info {number}", add_aliases=(f"alias {number}",)))
        case "merge" | "split" | "move":
            regroup(store, names, number)
        case "undo":
            store.undo_last(dice.randint(1, 3))
        case "forget":
            store.forget(names[0])
        case "take away" | "forget crop":
            lose(store, store.concept(names[0]), verb_of(number))
        case "look":
            remembered(store, place)
        case "album add" | "album remove" | "hide" | "name":
            change_album(store, number)
        case "re-embed":
            owners = store.views_without_vector("another")
            vectors = [crop(number + row).vector for row in range(len(owners))]
            store.put_vectors("another", owners, np.array(vectors, np.float32).reshape(-1, 8))
        case going_out_or_in:
            carry(store, place, going_out_or_in)


def regroup(store: Store, names: Sequence[str], number: int) -> None:
    match verb_of(number):
        case "merge":
            store.merge(names[0], names[1])
        case "split":
            store.split(names[0], [store.concept(names[0]).views[-1].id], f"part {number}")
        case "move":
            store.move([store.concept(names[0]).views[0].id], names[0], names[1])


def lose(store: Store, concept: Concept, verb: str) -> None:
    """The last view, where another one is left, and the first negative."""
    views, negatives = concept.views[1:][-1:], concept.negatives[:1]
    if verb == "take away":
        lost = Changes(
            remove_views=tuple(view.id for view in views),
            remove_negatives=tuple(negative.id for negative in negatives),
        )
        store.edit(concept.name, lost)
    elif views:
        store.forget_crop(concept.name, ("view", views[0].id))
    else:
        store.forget_crop(concept.name, ("negative", negatives[0].id))


def remembered(store: Store, place: Place) -> Memory:
    """What the store knows, read from the index file or written into it, as every look does."""
    place.index.mkdir(exist_ok=True)
    found = read_memory(store, "e", None if store.encrypted else place.index, file_from=1)
    assert found
    return found[1]


def change_album(store: Store, number: int) -> None:
    match verb_of(number):
        case "album add":
            store.album.put(SEER, [new_photo(number + row, of=(number % 9, row)) for row in range(5)])
        case "album remove":
            store.album.remove([photo.id for photo in store.album.photos()[:3]])
        case "hide":
            store.album.hide([(f"{number:064x}", (0.0, 0.0, 5.0, 5.0))], "hid a thing")
        case "name":
            views, negatives = (picture(number), picture(number + 1)), (picture(number + 2),)
            store.album.name(Naming(f"named {number}", views, negatives))


def carry(store: Store, place: Place, verb: str) -> None:
    match verb:
        case "export":
            old = place.folder / "old"  # a folder goes in one step by its name only
            shutil.rmtree(old, ignore_errors=True)
            if place.exported.exists():
                place.exported.rename(old)
            export_folder(store, place.exported, silent)
        case "import":
            doubled = "rename" if store.size()["concept"] < 40 else "skip"
            store.bring(read_folder(place.exported, silent), doubled)
        case "backup":
            backup(store, place.backup, replace=True)


def silent(what: str, done: int, total: int) -> None:
    pass


def picture(number: int) -> NewView:
    made = crop(number)
    pixels = draw([Blob("red", (0, 0, 9 + number % 20, 9))], (30, 10))
    jpeg = encode_jpeg(pixels, 50 + number % 50)
    return NewView(jpeg, made.xyxy, made.photo_sha256, made.embedder_id, made.vector)


def content(path: Path) -> Content:
    """All that a sound store holds, but for ids and dates, and which key fits it."""
    secret = key_of(path)
    with Store.open(path, key=given(secret)) as store:
        assert store.check() == []
        concepts = store.concepts()
        pictures = {
            (kind, made.id): sha256(store.picture(kind, made.id)).hexdigest()
            for concept in concepts
            for kind, crops in (("view", concept.views), ("negative", concept.negatives))
            for made in crops
        }
        size = store.size()
        told = [entry.summary for entry in store.history(size["journal"] or 1)]
        seen = [store.vectors(embedder) for embedder in ("e", "another")]
        album, shots = store.album.photos(), store.album.shots("e")
    beside = sorted(file.name for file in path.parent.glob("store.db*") if ".new" not in file.name)
    assert beside == ["store.db"], [(name, path.with_name(name).stat().st_size) for name in beside]
    return (
        SECRETS.index(secret),
        [
            (
                *(concept.name, concept.aliases, concept.category, concept.info),
                [(v.xyxy, v.photo_sha256, pictures["view", v.id]) for v in concept.views],
                [(n.xyxy, n.photo_sha256, pictures["negative", n.id]) for n in concept.negatives],
            )
            for concept in concepts
        ],
        told,
        size,
        [(vectors.views.tobytes(), vectors.negatives.tobytes()) for vectors in seen],
        [(photo.path, photo.sha256, photo.things) for photo in album],
        (shots.vectors.tobytes(), shots.whole.tobytes(), shots.hidden.tolist()),
    )


def require_index(place: Place, dice: random.Random) -> None:
    """The index file says what the store says: as the kill left it, and when it was damaged or is gone."""
    with opened(place.store) as store:
        truth = read_memory(store, "e", None)
        assert truth
        assert same(remembered(store, place), truth[1])
        if store.encrypted or not len(truth[1].view_ids):
            return
        file = IndexFile(place.index, "e")
        whole = file.path.read_bytes()
        cut = dice.randrange(len(whole))
        for damaged in (None, whole[:cut], whole[:cut] + bytes([whole[cut] ^ 1]) + whole[cut + 1 :]):
            file.path.unlink() if damaged is None else file.path.write_bytes(damaged)
            assert same(remembered(store, place), truth[1])
            assert file.path.read_bytes() == whole


def in_archive(archive: Path, scratch: Path) -> Content | None:
    """What a backup holds; None where there is none. Whatever has its name is whole."""
    if not archive.exists():
        return None
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    bring_back(scratch / "store.db", archive)
    return content(scratch / "store.db")


def in_folder(folder: Path) -> object:
    """What an exported folder holds; None where there is none. Whatever has its name is whole."""
    if not folder.exists():
        return None
    return [
        (incoming.name, incoming.aliases, incoming.info, [crop.read() for crop in incoming.views])
        for incoming in read_folder(folder, silent)
    ]


def whole(place: Place, scratch: Path) -> tuple[object, ...]:
    return content(place.store), in_archive(place.backup, scratch), in_folder(place.exported)


def work(place: Place, first: int, told: int) -> None:
    """Do deeds for ever, and say so."""
    for number in range(first, first + 100_000):
        os.write(told, b"b")
        do(place, number)
        os.write(told, b"d")


def child(folder: str, first: str, told: str) -> None:
    """What `killed` starts: `work` in a process of its own."""
    with keys_at_once():
        work(Place(Path(folder)), int(first), int(told))


def killed(place: Place, first: int, dice: random.Random) -> tuple[int, bool]:
    """Let `work` do some deeds and kill it; how many were done, and whether it was at another one.

    A program of its own, not a fork of this one: a fork may inherit a lock that nobody will ever release.
    """
    heard, told = os.pipe()
    words = [str(place.folder), str(first), str(told)]
    code = "import sys; sys.path[:0] = sys.argv[1:2]; import killing; killing.child(*sys.argv[2:])"
    command = [sys.executable, "-c", code, str(Path(__file__).parent), *words]
    with subprocess.Popen(command, pass_fds=[told]) as process:
        os.close(told)
        said, wanted = _heard(heard, 1), 2 * dice.randint(1, 15)
        started = time.perf_counter()
        while len(said) < wanted:
            said += _heard(heard, wanted - len(said))
        time.sleep(dice.random() * (time.perf_counter() - started) * 2 / wanted)  # anywhere in the next deed
        process.kill()
    assert process.returncode == -signal.SIGKILL
    while more := os.read(heard, 4096):
        said += more
    os.close(heard)
    return said.count(b"d"), said.endswith(b"b")


def _heard(pipe: int, count: int) -> bytes:
    """Up to so many bytes; an AssertionError where the child has ended by itself."""
    more = os.read(pipe, count)
    assert more, "the process to be killed ended by itself; what it said is above"
    return more


def run(folder: Path, rounds: int, seed: int) -> dict[str, int]:
    """So many kills; how often each verb was done, and how often one was "killed" halfway or "landed" so."""
    dice = random.Random(seed)
    ours, well = Place(folder / "killed"), Place(folder / "well")
    for place in (ours, well):
        place.folder.mkdir(parents=True)
    number, counts = seed * 1_000_000, dict.fromkeys([*VERBS, "killed", "landed"], 0)
    for _ in range(rounds):
        done, halfway = killed(ours, number, dice)
        for _ in range(done):
            counts[verb_of(number)] += 1
            do(well, number)
            number += 1
        require_index(ours, dice)
        left = whole(ours, folder / "scratch")
        expected = whole(well, folder / "scratch")
        if halfway:
            counts["killed"] += 1
            if left != expected:
                counts["landed"] += 1
                done_well(ours, well, number, folder)
                expected = whole(well, folder / "scratch")
            number += 1
        assert left == expected, f"seed {seed}, deed {number - 1}: {verb_of(number - 1)}"
    return counts


def done_well(ours: Place, well: Place, number: int, folder: Path) -> None:
    """The deed that was killed counts as done, as far as it may show: an export may have only begun."""
    if verb_of(number) == "export" and not ours.exported.exists():
        shutil.rmtree(well.exported)
    else:
        do(well, number)


def report(folder: Path, rounds: int, seed: int) -> None:
    """Print what was done in `rounds` kills."""
    started = time.perf_counter()
    with keys_at_once():
        counts = run(folder, rounds, seed)
    print(f"{rounds} kills in {time.perf_counter() - started:.0f} s, all or nothing each time: {counts}")
