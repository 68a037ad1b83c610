"""Forgotten means forgotten: no byte of the name, the pictures or the vectors in any file under the home."""

from __future__ import annotations

import base64
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from conftest import BlobPhoto
from kinsight import memory
from kinsight.assistant import Assistant, Lesson
from kinsight.home import open_home
from kinsight.llm.blobs import Blobs
from kinsight.marks import scene_marks
from kinsight.store import Store
from scenes import HERE, THERE
from terminal import Terminal, fine
from tiny import Blob

NAME = "Zölestine Übermütig"
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "latin-1")


def spellings(name: str) -> set[bytes]:
    """As files may have it: composed or not, in small or capital letters, in JSON, in several encodings."""
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    forms |= {change(form) for form in forms for change in (str.lower, str.upper, str.casefold)}
    forms |= {json.dumps(form)[1:-1] for form in forms}
    return {form.encode(code, "ignore") for form in forms for code in ENCODINGS}


def traces(store: Store) -> dict[str, set[bytes]]:
    """What must not be found of the concept, as long as it is there to be asked for."""
    concept, tom = store.concept(NAME), store.concept("Tom")
    ((embedder,),) = store._db.execute("select distinct embedder_id from vector").fetchall()
    known, shots = store.vectors(embedder), store.album.shots(embedder)
    beach = [row for row, photo in enumerate(shots.photos) if "zölestine" in photo.path]
    pictures = [store.view_picture(view.id) for view in concept.views]
    pictures += [store.album.thumbnail(shots.photos[row].id) for row in beach]
    vectors = [*known.views[known.view_concepts == concept.id], *shots.whole[beach]]
    stays = [store.view_picture(tom.views[0].id), store.album.thumbnail(shots.photos[1 - beach[0]].id)]
    slices = {picture[at : at + 24] for picture in pictures for at in range(0, len(picture) - 24, 24)}
    slices -= {part for part in slices if any(part in other for other in stays)}  # tables of every JPEG file
    return {
        "name": spellings(NAME) | spellings("Zoe the Great"),
        "info": spellings("is afraid of thunder") | spellings("hates fireworks"),
        "picture": slices | {base64.b64encode(part) for part in slices},
        "vector": {vector.astype(kind).tobytes() for vector in vectors for kind in (np.float32, np.float16)},
        "path": spellings("zölestine-on-the-beach"),
    }


def found(folder: Path, wanted: dict[str, set[bytes]]) -> dict[str, list[str]]:
    """In which files there are traces of which kind; the names of the files themselves count as well."""
    files = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return {
        kind: hits
        for kind, needles in wanted.items()
        if (
            hits := sorted(
                file.name
                for file, data in files.items()
                if any(needle in data or needle in str(file).encode() for needle in needles)
            )
        )
    }


@pytest.fixture
def lived(
    kinsight: Terminal, blob_photo: BlobPhoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """Somebody who left traces wherever there are any, beside somebody who is to stay."""
    monkeypatch.setattr(memory, "FILE_FROM", 1)
    her, both = blob_photo([Blob("red", HERE)]), blob_photo([Blob("red", THERE), Blob("blue", HERE, "ball")])
    beach = tmp_path / "album" / "zölestine-on-the-beach.png"
    beach.parent.mkdir()
    beach.write_bytes(her.read_bytes())
    tom = blob_photo([Blob("blue", HERE, "ball")])
    (tmp_path / "album" / "tom.png").write_bytes(tom.read_bytes())
    info = "Zölestine is afraid of thunder."
    for words in (
        ["remember", her, "--name", NAME, "--category", "box", "--info", info],
        ["remember", tom, "--name", "Tom", "--info", "Tom is a cat."],
        ["remember", both, "--name", NAME, "--add", "--region", "1"],
        ["edit", NAME, "--rename", "Zoe the Great", "--info", "Zoe hates fireworks."],
        ["edit", "Zoe the Great", "--rename", NAME, "--alias", "Zoe the Great"],
        ["not", both, NAME, "--region", "2"],
        ["edit", "Tom", "--alias", f"not {NAME}"],
        ["edit", "Tom", "--no-alias", f"not {NAME}"],
        ["album", "add", tmp_path / "album"],
        ["look", both],
    ):
        fine(kinsight(*words))
    readings = Blobs(open_home(kinsight.home).readings / "states", 0, 1_000_000)
    readings.put("a question", f"<system>{NAME} hates fireworks.".encode())
    readings.flush()
    return kinsight


def test_no_trace_anywhere(lived: Terminal, tmp_path: Path) -> None:
    with lived.store() as store:
        wanted = traces(store)
        before = found(lived.home, wanted)
        assert set(before) == set(wanted)
        assert [file for file in before["vector"] if file != "store.db"], "the index file holds vectors too"
        assert any(file.endswith(".blob") for file in before["name"])
        said = fine(lived("forget", NAME, "--yes"))
        assert "1 photo that may show or name it left the album" in said.out
        assert found(lived.home, wanted) == {}, "while another process has the store open, its log included"
    assert found(lived.home, wanted) == {}
    (tmp_path / "backups").mkdir()
    fine(lived("store", "backup", tmp_path / "backups" / "new.zip"))
    fine(lived("store", "export", tmp_path / "backups" / "out"))
    assert found(tmp_path / "backups", wanted) == {}
    assert fine(lived("look", tmp_path / "album" / "tom.png")).out.startswith("Tom")
    assert fine(lived("find", "--name", "Tom", "--json")).json["results"]
    assert NAME not in fine(lived("look", tmp_path / "album" / "zölestine-on-the-beach.png")).out
    assert found(lived.home, {kind: wanted[kind] for kind in ("name", "info", "path")}) == {}
    fine(lived("store", "restore", tmp_path / "backups" / "new.zip", "--yes"))
    assert found(lived.home, {kind: wanted[kind] for kind in ("name", "info", "path")}) == {}


def test_the_assistant_forgets_as_well(assistant: Assistant, blob_photo: BlobPhoto) -> None:
    photo = blob_photo([Blob("red", HERE)])
    assistant.remember(photo, Lesson("กขค", "box", "about it"))
    scene = assistant.look(photo)
    assert scene.accepted()
    assert [mark.text[:13] for mark in scene_marks(scene)] == ["region 1: กขค"]
    assert assistant.forget("กขค").mentioned_by == ()
    assert not assistant.look(photo).accepted()
    assert assistant.store.concepts() == []
