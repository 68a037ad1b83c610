"""The album on the tiny bundle: photos taken in once, found by name, words and likeness, and the inbox."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinsight.album import Album, Group
from kinsight.album.groups import alike_groups, typical_first
from kinsight.assistant import Assistant, Lesson
from kinsight.calibration import needed_similarity, probability
from kinsight.errors import BundleError, ConfigError, ModelError, PhotoError, RegionError, UnknownConcept
from kinsight.image import load, save
from kinsight.store import Naming
from kinsight.types import Box, Floats
from stress_album import kept, looked_at_again
from tiny import Blob, draw

LEFT, RIGHT = (20, 60, 110, 160), (140, 90, 236, 200)
Taken = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.fixture
def take(folder: Path) -> Taken:
    """Takes a photo of these colours, at most two, the first on the left."""

    def photo(*colours: str, name: str = "") -> Path:
        path = folder / (name or f"{len(list(folder.rglob('*.png'))):03}-{'-'.join(colours)}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        blobs = [Blob(colour, box) for colour, box in zip(colours, (LEFT, RIGHT), strict=False)]
        pixels = draw(blobs, (256, 256))
        pixels[:8, :8] = 100 + len(list(folder.rglob("*.png")))  # no two files are the same
        save(pixels, path)
        return path

    return photo


@pytest.fixture
def album(assistant: Assistant) -> Album:
    return assistant.album


def names(photos: Sequence[Path]) -> list[str]:
    return [photo.name for photo in photos]


def near(box: Box | None, other: Box) -> bool:
    return box is not None and np.allclose(box, other, atol=8)


def test_a_folder_is_taken_in_with_all_below(
    album: Album, assistant: Assistant, folder: Path, take: Taken
) -> None:
    paths = [take("red", "blue"), take("green", name="a/b/green.PNG"), take()]
    take("red", name=".thumbs/red.png")
    (folder / "._copy.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("no photo")
    (folder / "broken.jpg").write_bytes(paths[0].read_bytes()[:40])
    (folder / "empty.png").touch()
    told: list[tuple[int, int]] = []
    report = album.add([folder], lambda what, done, total: told.append((done, total)))
    assert (report.added, report.known, report.moved) == (3, 0, 0)
    assert [Path(skipped.path).name for skipped in report.skipped] == ["broken.jpg", "empty.png"]
    assert "is empty: copy it again" in report.skipped[1].reason
    assert (told[0], told[-1]) == ((0, 5), (5, 5))
    photos = assistant.store.album.photos()
    assert {photo.path for photo in photos} == {str(path.resolve()) for path in paths}
    assert sorted(photo.things for photo in photos) == [0, 1, 2]


def test_what_is_seen_is_what_look_sees(
    album: Album, assistant: Assistant, folder: Path, take: Taken
) -> None:
    paths = [take("red", "blue"), take(), take("green")]
    album.add([folder])
    shots = album.shots()
    for row, path in enumerate(paths):
        scene = assistant.look(path)
        rows = list(shots.rows(row))
        np.testing.assert_array_equal(shots.regions.take(rows).xyxy, scene.regions.xyxy)
        np.testing.assert_allclose(shots.vectors[rows], scene.vectors[:-1], atol=1e-6)
        np.testing.assert_allclose(shots.whole[row], scene.vectors[-1], atol=1e-6)


def test_nothing_is_done_twice(album: Album, folder: Path, take: Taken) -> None:
    paths = [take("red"), take("blue")]
    assert album.add([folder, paths[0]]).added == 2
    stamp = paths[0].stat()
    paths[0].write_bytes(b"x" * stamp.st_size)  # it is not even read
    os.utime(paths[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    report = album.add([folder])
    assert (report.added, report.known, report.moved, report.skipped) == (0, 2, 0, ())


def test_looking_again_is_seen_by_the_stress_test(
    album: Album, folder: Path, take: Taken, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which could not fail else."""
    take("red")
    take("green", "blue")
    album.add([folder])
    before = kept(home)
    album.add([folder])
    assert looked_at_again(before, kept(home)) == 0
    monkeypatch.setattr("kinsight.album.adding.is_seen", lambda photo, eyes: False)
    album.add([folder])
    assert looked_at_again(before, kept(home)) == len(before) == 2


def test_what_was_moved_is_known(album: Album, assistant: Assistant, folder: Path, take: Taken) -> None:
    here, changed, copied = take("red"), take("blue"), take("green")
    album.add([folder])
    (folder / "new").mkdir()
    here.rename(folder / "new" / "name.png")
    os.utime(changed, ns=(0, 0))
    (folder / "copy.png").write_bytes(copied.read_bytes())
    report = album.add([folder])
    assert (report.added, report.known, report.moved) == (0, 2, 2)
    at = {
        Path(photo.path).relative_to(folder.resolve()).as_posix() for photo in assistant.store.album.photos()
    }
    assert at == {"new/name.png", changed.name, copied.name}
    assert album.add([folder]).moved == 0


def test_two_files_of_one_content_are_one_photo(album: Album, folder: Path, take: Taken) -> None:
    (folder / "copy.png").write_bytes(take("red").read_bytes())
    report = album.add([folder])
    assert (report.added, report.known) == (1, 1)


def test_a_changed_file_is_looked_at_again(album: Album, folder: Path, take: Taken) -> None:
    path = take("red")
    album.add([path])
    save(draw([Blob("blue", LEFT), Blob("green", RIGHT)], (256, 256)), path)
    assert album.add([path]).added == 1
    assert len(album.shots().photos) == 1
    assert len(album.shots().regions) == 2


def test_who_is_stopped_goes_on_after_the_last_batch(album: Album, folder: Path, take: Taken) -> None:
    for number in range(20):
        take("red" if number % 2 else "blue")

    def stop(what: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        album.add([folder], stop)
    kept = len(album.shots().photos)
    assert 0 < kept < 20
    report = album.add([folder])
    assert (report.added, report.known) == (20 - kept, kept)


def test_files_that_cannot_be(album: Album, folder: Path, take: Taken) -> None:
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png"))
    odd.write_bytes(take("red").read_bytes())
    report = album.add([folder, folder / "none.png"])
    assert report.added == 1
    assert [skipped.reason.split(":")[0] for skipped in report.skipped] == [
        "there is no such file",
        "its name is not in UTF-8",
    ] or [skipped.reason.split(":")[0] for skipped in report.skipped] == [
        "its name is not in UTF-8",
        "there is no such file",
    ]
    assert all(skipped.path.isprintable() for skipped in report.skipped)


def test_another_embedder_looks_anew(assistant: Assistant, folder: Path, take: Taken) -> None:
    take("red")
    assistant.album.add([folder])
    bundle = assistant.bundle
    other = replace(bundle, embedder=replace(bundle.embedder, id="other"))
    with Assistant(assistant.home, other, assistant.device) as newer:
        assert newer.album.unseen() == 1
        assert newer.album.find_text("red", 5) == []
        assert newer.album.add([folder]).added == 1
        assert newer.album.unseen() == 0
        assert len(newer.album.find_text("red", 5)) == 1
    assert assistant.album.unseen() == 1


def test_a_bundle_that_was_never_calibrated_takes_nothing_in(
    assistant: Assistant, folder: Path, take: Taken
) -> None:
    take("red")
    bundle = assistant.bundle
    bare = replace(bundle, embedder=replace(bundle.embedder, calibration=None))
    with Assistant(assistant.home, bare, assistant.device) as untaught, pytest.raises(BundleError):
        untaught.album.add([folder])


def test_find_by_words(album: Album, folder: Path, take: Taken) -> None:
    red, both, _ = take("red"), take("blue", "red"), take("green")
    album.add([folder])
    found = album.find_text("a red photo", 2)
    assert {one.photo.name for one in found} == {red.name, both.name}
    boxes = {one.photo.name: one.boxes for one in found}
    assert near(boxes[both.name][0], RIGHT)
    assert found[0].score >= found[1].score > 0.5
    assert len(album.find_text("green", 1)) == 1


def test_find_by_words_needs_the_text_tower(assistant: Assistant, folder: Path, take: Taken) -> None:
    take("red")
    bundle = assistant.bundle
    mute = replace(bundle, embedder=replace(bundle.embedder, text=None))
    with Assistant(assistant.home, mute, assistant.device) as deaf:
        deaf.album.add([folder])
        with pytest.raises(ModelError, match="has no text tower"):
            deaf.album.find_text("red", 5)


def test_find_by_likeness(album: Album, folder: Path, take: Taken) -> None:
    red, both, green = take("red"), take("blue", "red"), take("green")
    album.add([folder])
    photo = load(red)
    (best, *_) = album.find_like(photo, None, 5)
    assert best.photo.name == both.name and near(best.boxes[0], RIGHT)
    assert red.name not in [one.photo.name for one in album.find_like(photo, None, 5)]
    (whole, *_) = album.find_like(photo, 0, 1)
    assert whole.boxes == (None,)
    blue = next(n for n in (1, 2) if album.find_like(load(both), n, 1)[0].photo.name != red.name)
    assert album.find_like(load(both), 3 - blue, 1)[0].photo.name == red.name
    with pytest.raises(RegionError, match="no region 9"):
        album.find_like(load(green), 9, 5)


def test_find_by_name_in_photos_that_are_older_than_the_name(
    album: Album, assistant: Assistant, folder: Path, take: Taken
) -> None:
    red, both, _, blue = take("red"), take("blue", "red"), take("green"), take("blue")
    album.add([folder])
    assistant.remember(red, Lesson("Lala"))
    assistant.remember(blue, Lesson("Tom"))
    for path in (red, both, blue):
        path.unlink()  # no photo is opened
    assert {one.photo.name for one in album.find_names(["lala"], 9)} == {red.name, both.name}
    (one,) = album.find_names(["Lala", "Tom"], 9)
    assert one.photo.name == both.name
    assert (one.asked, set(one.concepts)) == (("Lala", "Tom"), {"Lala", "Tom"})
    assert near(one.boxes[0], RIGHT) and near(one.boxes[1], LEFT)
    assert 0.5 < one.score <= 1
    assert len(album.find_names(["Tom"], 1)) == 1
    with pytest.raises(UnknownConcept, match="did you mean"):
        album.find_names(["Lola"], 9)
    assert album.sheet(album.find_names(["Lala"], 9)).shape == (280, 640, 3)


def test_an_empty_album_finds_nothing(album: Album, assistant: Assistant, folder: Path, take: Taken) -> None:
    assistant.remember(take("red"), Lesson("Lala"))
    assert album.find_names(["Lala"], 5) == album.find_text("red", 5) == album.groups() == []
    assert album.find_like(load(take("red")), None, 5) == []


@pytest.fixture
def inbox(album: Album, folder: Path, take: Taken) -> dict[str, Group]:
    """Purple is there four times, green three times, brown twice, cyan once; groups by colour."""
    for colours in (
        *(("purple", "green"), ("purple", "brown"), ("green", "purple")),
        *(("cyan",), ("green", "brown"), ("purple",)),
    ):
        take(*colours)
    album.add([folder])
    found = {colour_of(group): group for group in album.groups()}
    assert {colour: len(group.members) for colour, group in found.items()} == {
        "purple": 4,
        "green": 3,
        "brown": 2,
    }
    return found


def colour_of(group: Group) -> str:
    """The colour that is in the names of all photos of a group, which the boxes agree with."""
    colours = [
        member.photo.name.removesuffix(".png").split("-")[1 if near(member.xyxy, LEFT) else 2]
        for member in group.members
    ]
    assert len(set(colours)) == 1
    return colours[0]


def test_naming_a_group_names_its_photos(album: Album, assistant: Assistant, inbox: dict[str, Group]) -> None:
    assert album.groups()[0] == inbox["purple"]
    concept = album.name(inbox["purple"].id, Naming("Momo", (), category="cup"))
    assert 1 <= len(concept.views) <= 4
    assert {one.photo for one in album.find_names(["Momo"], 9)} == {m.photo for m in inbox["purple"].members}
    assert {colour_of(group) for group in album.groups()} == {"green", "brown"}
    assert assistant.store.undo() == 'named "Momo" in the album'
    assert album.groups()[0] == inbox["purple"]
    assert assistant.store.concepts() == []


def test_naming_part_of_a_group_leaves_the_rest_unnamed(
    album: Album, assistant: Assistant, inbox: dict[str, Group]
) -> None:
    concept = album.name(inbox["green"].id, Naming("Ann", ()), only=[1, 3])
    assert (len(concept.views), len(concept.negatives)) == (2, 1)
    left_out = inbox["green"].members[1].photo
    assert left_out not in [one.photo for one in album.find_names(["Ann"], 9)]
    assistant.store.undo()
    with pytest.raises(ConfigError, match="no number 4: choose of 1 to 3"):
        album.name(inbox["green"].id, Naming("Ann", ()), only=[1, 4])


def test_a_group_can_be_somebody_known(album: Album, assistant: Assistant, inbox: dict[str, Group]) -> None:
    album.name(inbox["green"].id, Naming("Ann", ()))
    before = len(assistant.store.concept("Ann").views)
    album.name(inbox["brown"].id, Naming("ann", (), known=True))
    assert len(assistant.store.concept("Ann").views) == before + 2


def test_a_dropped_group_stays_away(
    album: Album, assistant: Assistant, inbox: dict[str, Group], folder: Path, take: Taken
) -> None:
    album.drop(inbox["green"].id)
    assert {colour_of(group) for group in album.groups()} == {"purple", "brown"}
    take("green"), take("green")
    album.add([folder])
    assert {colour_of(group) for group in album.groups()} == {"purple", "brown"}
    assistant.store.undo()
    assert {colour_of(group) for group in album.groups()} == {"purple", "brown", "green"}


def test_a_group_that_changed_has_another_id(
    album: Album, inbox: dict[str, Group], folder: Path, take: Taken
) -> None:
    assert {group.id for group in album.groups()} == {group.id for group in inbox.values()}
    take("brown")
    album.add([folder])
    with pytest.raises(ConfigError, match="there is no group"):
        album.name(inbox["brown"].id, Naming("Bob", ()))
    assert inbox["purple"].id in {group.id for group in album.groups()}


def test_photos_that_are_gone_teach_nothing(
    album: Album, assistant: Assistant, inbox: dict[str, Group], folder: Path
) -> None:
    for member in inbox["brown"].members[:1]:
        Path(member.photo.path).unlink()
    assert len(album.name(inbox["brown"].id, Naming("Bob", ())).views) == 1
    assistant.store.undo()
    for path in folder.iterdir():
        path.write_bytes(b"something else")
    with pytest.raises(PhotoError, match="is not where it was"):
        album.name(inbox["brown"].id, Naming("Bob", ()))
    assert album.group_sheet(inbox["purple"]).shape == (280, 4 * 320, 3)
    assert album.groups_sheet(album.groups()).shape == (3 * 200, 4 * 200, 3)


def test_forgetting_takes_the_photos_along(
    album: Album, assistant: Assistant, inbox: dict[str, Group]
) -> None:
    album.name(inbox["purple"].id, Naming("Momo", ()))
    assert assistant.store.forget("Momo").photos == 4
    assert {colour_of(group) for group in album.groups()} <= {"green", "brown"}
    assert len(album.shots().photos) == 2


def circle(*degrees: float) -> Floats:
    """Unit vectors (n, 2)."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_groups_are_alike_throughout() -> None:
    """A chain of neighbours is no group: the first and the last are nothing alike."""
    vectors = circle(0, 10, 20, 30, 40, 90, 92)
    least = float(np.cos(np.radians(21)))
    groups = alike_groups(vectors, np.arange(7), least)
    assert [5, 6] in groups and len(groups) > 2
    for rows in groups:
        assert (vectors[rows] @ vectors[rows].T >= least).all()
    assert alike_groups(vectors, np.zeros(7, np.int64), least) == []
    assert alike_groups(vectors[:0], np.zeros(0, np.int64), least) == []


def test_groups_of_many_random_vectors() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(6, 8))
        vectors = (centres[rng.integers(6, size=60)] + 0.25 * rng.normal(size=(60, 8))).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        photos, least = rng.integers(40, size=60), 0.85
        groups = alike_groups(vectors, photos, least)
        rows = [row for group in groups for row in group]
        assert len(rows) == len(set(rows))
        assert [len(group) for group in groups] == sorted((len(group) for group in groups), reverse=True)
        for group in groups:
            assert (vectors[group] @ vectors[group].T >= least - 1e-6).all()
            assert len(set(photos[group].tolist())) == len(group)
        joined = groups + [[row] for row in range(60) if row not in rows]
        for one in range(len(joined)):
            for two in range(one):
                both = joined[one] + joined[two]
                shared = len(set(photos[both].tolist())) < len(both)
                assert shared or (vectors[both] @ vectors[both].T < least).any()


def test_typical_first() -> None:
    vectors = circle(0, 3, 5, 8, 60)
    assert typical_first(vectors, 2) == [3, 4]
    assert sorted(typical_first(vectors, 9)) == [0, 1, 2, 3, 4]


def test_needed_similarity_is_the_inverse_of_the_probability(assistant: Assistant) -> None:
    calibration = assistant.rules.calibration
    for chance in (calibration.unsure_probability, calibration.accept_probability, 0.5):
        needed = needed_similarity(chance, calibration)
        assert probability(np.array([needed + 1e-4], np.float32), calibration)[0] >= chance - 1e-6
        assert probability(np.array([needed - 0.01], np.float32), calibration)[0] < chance
    assert needed_similarity(1.1, calibration) == float("inf")
