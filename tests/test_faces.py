"""Persons are known by their faces: found, compared by their own calibration, forgotten, looked at anew."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinsight.assistant import Assistant, Lesson
from kinsight.bundle import Bundle, check_hashes, read_bundle
from kinsight.config import DeviceConfig
from kinsight.errors import BundleError, ModelError
from kinsight.faces import face_vectors, load_faces, unlooked
from kinsight.home import open_home
from kinsight.image import load
from kinsight.store import Naming
from kinsight.types import Box, Match, Regions
from kinsight.why import why_lines
from tiny import Blob, BlobPhoto
from tiny_faces import DIM, FACES, SIDE, make_face_detector, make_face_recogniser

BODY: Box = (160, 128, 352, 512)
AT = (208, 176)
FACE: Box = (*AT, AT[0] + SIDE, AT[1] + SIDE)
TOML = """
[faces]
id = "tiny-faces-1"
dim = 128
score_threshold = 0.9
detector = {{ file = "faces.onnx", sha256 = "{detector}" }}
recogniser = {{ file = "recogniser.onnx", sha256 = "{recogniser}" }}
[faces.calibration]
curve = [[0.8, 0.01], [0.9, 0.5], [0.98, 0.99]]
accept_probability = 0.9
unsure_probability = 0.5
margin = 0.05
fitted_on = "by hand"
"""


@pytest.fixture(scope="module")
def seeing(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle, with faces."""
    folder = tmp_path_factory.mktemp("faces") / "tiny"
    shutil.copytree(tiny_bundle, folder)
    detector = make_face_detector(folder / "faces.onnx").read_bytes()
    recogniser = make_face_recogniser(folder / "recogniser.onnx").read_bytes()
    hashes = {"detector": hashlib.sha256(detector), "recogniser": hashlib.sha256(recogniser)}
    words = TOML.format(**{name: digest.hexdigest() for name, digest in hashes.items()})
    toml = folder / "bundle.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + words, encoding="utf-8")
    return read_bundle(folder)


@pytest.fixture
def host(home: Path, seeing: Bundle, device: DeviceConfig) -> Iterator[Assistant]:
    with Assistant(open_home(home), seeing, device) as opened:
        yield opened


def person(blob_photo: BlobPhoto, body: str, face: str = "") -> Path:
    """Somebody with a body of this colour and the face of one of FACES, or from behind."""
    return blob_photo([Blob(body, BODY), *([Blob(FACES[face], FACE)] if face else [])])


def best(assistant: Assistant, photo: Path) -> Match:
    return assistant.look(photo).matches[0][0]


def test_faces_are_found_where_they_are(seeing: Bundle, blob_photo: BlobPhoto) -> None:
    assert seeing.faces is not None
    models = load_faces(seeing.faces)
    found = models.faces(load(person(blob_photo, "green", "ann")).pixels)
    assert found and all(face.score >= 0.9 for face in found)
    for face in found:
        x0, y0, x1, y1 = face.xyxy
        assert FACE[0] <= x0 < x1 <= FACE[2] and FACE[1] <= y0 < y1 <= FACE[3]
    assert models.faces(load(person(blob_photo, "green")).pixels) == []
    eve = models.faces(load(person(blob_photo, "green", "eve")).pixels)[0]
    assert eve.vector @ eve.vector == pytest.approx(1, abs=1e-5)
    assert found[0].vector @ eve.vector < 0.85


def test_a_face_belongs_to_the_smallest_region_that_holds_it(seeing: Bundle, blob_photo: BlobPhoto) -> None:
    assert seeing.faces is not None
    photo = load(person(blob_photo, "green", "ann"))
    boxes = np.array([(0, 0, 640, 640), BODY, (400, 400, 600, 600)], np.float32)
    regions = Regions(boxes, np.ones(3, np.float32), ("box",) * 3)
    vectors = face_vectors(photo, regions, load_faces(seeing.faces), DIM)
    assert vectors.shape == (4, DIM)
    assert vectors.any(axis=1)[:3].tolist() == [False, True, False]


def test_the_face_decides_who_a_person_is(host: Assistant, blob_photo: BlobPhoto) -> None:
    host.remember(person(blob_photo, "green", "ann"), Lesson("Ann", "person"))
    same = best(host, person(blob_photo, "green", "ann"))
    assert (same.concept, same.decision) == ("Ann", "accepted") and same.face is not None and same.face > 0.98
    other_clothes = best(host, person(blob_photo, "yellow", "ann"))
    assert (other_clothes.concept, other_clothes.decision) == ("Ann", "accepted")
    other_face = best(host, person(blob_photo, "green", "zoe"))
    assert other_face.decision == "unknown" and other_face.face is not None
    from_behind = best(host, person(blob_photo, "green"))
    assert (from_behind.concept, from_behind.decision, from_behind.face) == ("Ann", "unsure", None)


def test_others_need_no_face(host: Assistant, blob_photo: BlobPhoto) -> None:
    host.remember(person(blob_photo, "green"), Lesson("Frog", "toy"))
    assert best(host, person(blob_photo, "green")).decision == "accepted"


def test_why_speaks_of_faces(host: Assistant, blob_photo: BlobPhoto) -> None:
    host.remember(person(blob_photo, "green", "ann"), Lesson("Ann", "woman"))
    said = why_lines(host.look(person(blob_photo, "green", "ann")), host.memory(), host.rules)
    assert ", the faces 1.00, so probability 0.99 (needed 0.90" in said[0]
    said = why_lines(host.look(person(blob_photo, "green")), host.memory(), host.rules)
    assert said[0].endswith("a face to compare was not seen, so Ann is a maybe at most")


@pytest.mark.parametrize("clothes", ["green", "cyan", "yellow"])
def test_not_this_one_goes_by_the_face(host: Assistant, blob_photo: BlobPhoto, clothes: str) -> None:
    """Ann keeps her name in the clothes in which somebody else was refused, whatever she was taught in."""
    host.remember(person(blob_photo, "green", "ann"), Lesson("Ann", "person"))
    refused = person(blob_photo, clothes, "zoe")
    host.refuse(refused, "Ann", 1)
    assert host.bundle.faces and unlooked(host.store, host.bundle.faces) == []  # kept with the negative
    for body in ("green", "cyan", "yellow"):
        match = best(host, person(blob_photo, body, "ann"))
        assert (match.concept, match.decision) == ("Ann", "accepted"), body
    eyed = host.see(load(refused))
    assert eyed.faces is not None and np.array_equal(host.memory().negative_faces, eyed.faces[:1])
    assert best(host, person(blob_photo, clothes, "zoe")).decision == "unknown"
    assert best(host, person(blob_photo, clothes)).decision != "accepted"


def test_negatives_of_before_are_looked_at_for_faces(
    home: Path, tiny_bundle: Path, seeing: Bundle, device: DeviceConfig, blob_photo: BlobPhoto
) -> None:
    """Those that a bundle without faces took, and an imported one; the album's faces come along."""
    with Assistant(open_home(home), read_bundle(tiny_bundle), device) as faceless:
        faceless.remember(person(blob_photo, "green", "ann"), Lesson("Ann", "person"))
        faceless.refuse(person(blob_photo, "yellow", "zoe"), "Ann", 1)
        faceless.refuse(person(blob_photo, "red"), "Ann", 1)
    with Assistant(open_home(home), seeing, device) as host:
        assert host.memory().negative_face_concepts.tolist() == [1]
        assert seeing.faces is not None and unlooked(host.store, seeing.faces) == []
        assert best(host, person(blob_photo, "yellow", "ann")).decision == "accepted"
        vector = host.memory().negative_faces[0].astype("<f4").tobytes()
        host.store.forget("Ann")
    assert not any(vector in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_naming_a_part_of_a_group_keeps_the_faces_of_the_rest(host: Assistant, blob_photo: BlobPhoto) -> None:
    ann, zoe = photos = [person(blob_photo, "green", who) for who in ("ann", "zoe")]
    host.album.add(photos)
    (group,) = host.album.groups()
    (number,) = [n for n, member in enumerate(group.members, 1) if Path(member.photo.path) == ann]
    host.album.name(group.id, Naming("Ann", (), category="person"), [number])
    assert host.bundle.faces and unlooked(host.store, host.bundle.faces) == []
    memory, shots = host.memory(), host.album.shots()
    assert memory.negative_face_concepts.tolist() == [1]
    assert np.array_equal(memory.negative_faces[0], shots.faces[photos.index(zoe)][0])
    assert [Path(one.photo.path) for one in host.album.find_names(["Ann"], 9)] == [ann]


def test_face_vectors_follow_their_view(
    host: Assistant, blob_photo: BlobPhoto, home: Path, seeing: Bundle, device: DeviceConfig
) -> None:
    host.remember(person(blob_photo, "green", "ann"), Lesson("Ann", "person"))
    host.remember(person(blob_photo, "red"), Lesson("Tom", "person"))
    assert len(host.memory().faces) == 1
    assert seeing.faces is not None and unlooked(host.store, seeing.faces) == []
    later = replace(seeing, faces=replace(seeing.faces, id="tiny-faces-2"))
    with Assistant(open_home(home), later, device) as other:
        assert later.faces is not None and len(unlooked(other.store, later.faces)) == 2
        assert len(other.memory().faces) == 1
        vector = other.memory().faces[0].astype("<f4").tobytes()
    host.store.forget("Ann")
    assert len(host.memory().faces) == 0
    assert not any(vector in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_the_album_knows_persons_by_their_faces(
    host: Assistant, blob_photo: BlobPhoto, home: Path, tiny_bundle: Path, device: DeviceConfig
) -> None:
    looks = {("yellow", "ann"): 1, ("green", "zoe"): 0, ("green", ""): 0, ("green", "ann"): 1}
    photos = [person(blob_photo, *look) for look in looks]
    host.remember(person(blob_photo, "green", "ann"), Lesson("Ann", "person"))
    with Assistant(open_home(home), read_bundle(tiny_bundle), device) as faceless:
        faceless.album.add(photos)
        assert len(faceless.album.find_names(["Ann"], 9)) == 3  # whoever is green
    assert host.album.unseen() == 4
    assert host.album.find_names(["Ann"], 9) == []  # by clothes nobody is more than a maybe
    assert host.album.add(photos).added == 4 and host.album.unseen() == 0
    assert host.album.add(photos).known == 4
    found = {Path(one.photo.path) for one in host.album.find_names(["Ann"], 9)}
    assert found == {photo for photo, there in zip(photos, looks.values(), strict=True) if there}
    assert [Path(one.photo.path) for one, _ in host.album.perhaps("Ann", 9)] == [photos[2]]


def test_whom_only_the_face_shows_leaves_the_album_with_the_face(
    host: Assistant, blob_photo: BlobPhoto, home: Path
) -> None:
    others = [person(blob_photo, "yellow", "ann"), person(blob_photo, "yellow", "zoe")]
    host.album.add(others)
    (faces,) = [vectors for vectors in host.album.shots().faces.values() if vectors.any()][:1]
    host.remember(person(blob_photo, "green", "ann"), Lesson("Ann", "person"))
    host.memory()
    assert host.forget("Ann").photos == 1
    (left,) = host.store.album.photos()
    assert Path(left.path) == others[1]
    vector = faces[faces.any(axis=1)][0].astype("<f4").tobytes()
    assert not any(vector in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_the_files_are_checked(seeing: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(seeing.folder, folder)
    make_face_recogniser(folder / "faces.onnx")
    with pytest.raises(BundleError, match=r"faces\.onnx is damaged"):
        check_hashes(read_bundle(folder))
    broken = read_bundle(folder)
    assert broken.faces is not None
    with pytest.raises(ModelError):
        load_faces(replace(broken.faces, detector=folder / "bundle.toml"))
    toml = folder / "bundle.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("score_threshold = 0.9\n", ""), encoding="utf-8")
    with pytest.raises(BundleError, match=r"faces\.score_threshold"):
        read_bundle(folder)
