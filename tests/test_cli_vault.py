"""The vault on the command line: typed passphrases, key files, and nothing plain in the whole home."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from conftest import BlobPhoto
from kinsight import doctor
from kinsight.home import Home
from kinsight.store import KEY_FILE, keys
from terminal import Terminal, fine
from tiny import Blob

pytest.importorskip("sqlcipher3")


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys at once."""
    monkeypatch.setattr(keys, "COST", {"n": 2, "r": 8, "p": 1})
    monkeypatch.delenv(KEY_FILE, raising=False)


@pytest.fixture
def lala(blob_photo: BlobPhoto) -> Path:
    return blob_photo([Blob("red", (60, 200, 220, 420))])


def plain(home: Path, needles: list[bytes]) -> list[str]:
    """The files of the home that hold one of these."""
    files = [file for file in home.rglob("*") if file.is_file()]
    return [file.name for file in files if any(needle in file.read_bytes() for needle in needles)]


def test_a_life_in_the_vault(kinsight: Terminal, lala: Path, tmp_path: Path) -> None:
    key = tmp_path / "keys" / "kinsight.key"
    key.parent.mkdir()
    lala.with_name("party.png").write_bytes(lala.read_bytes() + b"another file of the same")
    fine(kinsight("remember", lala, "--name", "Zölestine", "--info", "She loves the sea."))
    fine(kinsight("ask", lala, "Who is this?"))
    fine(kinsight("album", "add", lala))
    (kinsight.home / "index" / "of.usearch").write_bytes(b"vectors")
    with kinsight.store() as store:
        concept = store.concept("Zölestine")
        picture = store.view_picture(concept.views[0].id)
        vector = store.vectors(store._db.execute("select embedder_id from vector").fetchone()[0]).views[0]
        thumbnail = store.album.thumbnail(1)
    needles = ["Zölestine".encode(), "zölestine".encode(), b"loves the sea", b"CREATE TABLE", b"vectors"]
    needles += [picture[200:216], thumbnail[200:216], vector.tobytes()[:16], str(lala).encode()]
    assert {"store.db", "of.usearch"} <= set(plain(kinsight.home, needles))
    said = fine(kinsight("vault", "on", "--key-file", key))
    assert said.out == "The store is encrypted. Without its key nobody can open it, so keep that safe.\n"
    assert f"a new key is in {key}" in said.err and "delete them" in said.err
    assert plain(kinsight.home, needles) == []
    assert list((kinsight.home / "cache").rglob("*.blob")) == []
    opened = ("--key-file", key)
    assert fine(kinsight("look", lala, *opened)).out.startswith("Zölestine")
    fine(kinsight("ask", lala, "Who is this?", *opened))
    fine(kinsight("not", lala.with_name("party.png"), "Zölestine", "--region", 0, *opened))
    fine(kinsight("undo", *opened))
    assert fine(kinsight("find", "--name", "Zölestine", "--json", *opened)).json["results"]
    fine(kinsight("edit", "Zölestine", "--alias", "Zoe", *opened))
    fine(kinsight("store", "backup", tmp_path / "backup.zip", *opened))
    assert plain(kinsight.home, needles) == [] and plain(tmp_path / "keys", needles) == []
    assert not any(needle in (tmp_path / "backup.zip").read_bytes() for needle in needles)
    said = fine(kinsight("store", "export", tmp_path / "out", *opened))
    assert "what was exported is not encrypted" in said.err
    assert fine(kinsight("vault", "off", *opened)).out == "The store is no longer encrypted.\n"
    assert fine(kinsight("show", "Zoe")).out.startswith("name   Zölestine")


def test_a_typed_passphrase(kinsight: Terminal, lala: Path) -> None:
    fine(kinsight("remember", lala, "--name", "Lala"))
    said = kinsight.secretly(["vault", "on"], ["one 1", "two 2", "one 1", "one 1"])
    assert said.code == 0 and "is encrypted" in said.out
    assert "one 1" not in said.out and "two 2" not in said.out
    opened = kinsight.secretly(["concepts"], ["one 1"])
    assert opened.code == 0 and "Lala" in opened.out
    wrong = kinsight.secretly(["concepts"], ["one 2"])
    assert wrong.code == 1 and "Lala" not in wrong.out
    assert "the key does not fit the store" in wrong.out.splitlines()[-1]
    assert "has a new key" in kinsight.secretly(["vault", "rekey"], ["one 1", "2", "2"]).out
    assert "does not fit" in kinsight.secretly(["vault", "rekey"], ["one 1"]).out
    assert "no longer encrypted" in kinsight.secretly(["vault", "off"], ["2"]).out
    assert fine(kinsight("concepts")).out.startswith("Lala")


def test_where_nobody_is_there_to_type(
    kinsight: Terminal, lala: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["vault", "off"], ["vault", "rekey"]):
        assert "is not encrypted: run `kinsight vault on` first" in kinsight(*words).err
    assert "not encrypted" in fine(kinsight("vault", "status")).out
    said = kinsight("vault", "on")
    assert said.code == 1 and "nobody is there to type a passphrase: name a key file" in said.err
    inside = kinsight.home / "key"
    assert "keep it elsewhere" in kinsight("vault", "on", "--key-file", inside).err
    assert not inside.exists()
    key = tmp_path / "key"
    monkeypatch.setenv(KEY_FILE, str(key))
    fine(kinsight("remember", lala, "--name", "Lala"))
    fine(kinsight("vault", "on"))
    assert fine(kinsight("concepts")).out.startswith("Lala")
    assert "encrypted; every page was read" in doctor._store(Home(kinsight.home)).words
    assert fine(kinsight("vault", "status", "--json")).json["encrypted"] is True
    assert "is encrypted already" in kinsight("vault", "on").err
    monkeypatch.delenv(KEY_FILE)
    for words in (["concepts"], ["look", str(lala)], ["forget", "Lala", "--yes"], ["undo"], ["vault", "off"]):
        said = kinsight(*words)
        assert said.code == 1 and said.out == "", words
        assert "is encrypted and no key was given: run this on a terminal" in said.err.splitlines()[-1]
    locked = doctor._store(Home(kinsight.home))
    assert locked.state == "note" and "no key was given" in locked.words
    assert fine(kinsight("concepts", "--key-file", key)).out.startswith("Lala")


def test_restore_with_another_key(kinsight: Terminal, lala: Path, tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "backup.zip"
    fine(kinsight("remember", lala, "--name", "Lala"))
    fine(kinsight("vault", "on", "--key-file", old))
    fine(kinsight("store", "backup", file, "--key-file", old))
    fine(kinsight("vault", "rekey", "--key-file", old, "--new-key-file", new))
    fine(kinsight("edit", "Lala", "--rename", "Momo", "--key-file", new))
    said = kinsight("store", "restore", file, "--yes", "--key-file", new)
    assert said.code == 1 and f"the key does not fit {file}" in said.err
    restored = kinsight("store", "restore", file, "--yes", "--key-file", new, "--backup-key-file", old)
    assert fine(restored).out == "1 concept restored.\n"
    assert fine(kinsight("concepts", "--key-file", new)).out.startswith("Lala")
    (kinsight.home / "store.db").unlink()
    assert fine(kinsight("store", "restore", file, "--key-file", old)).out == "1 concept restored.\n"
    assert fine(kinsight("concepts", "--key-file", old)).out.startswith("Lala")


def test_without_the_package(kinsight: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sqlcipher3", "sqlcipher3.dbapi2"):
        monkeypatch.setitem(sys.modules, name, None)
    said = kinsight("vault", "on", "--key-file", tmp_path / "key")
    assert said.code == 1 and 'run pip install "kinsight[vault]"' in said.err
    assert not (tmp_path / "key").exists()
    assert json.loads(fine(kinsight("vault", "status", "--json")).out)["encrypted"] is False


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_store_that_lost_its_beginning_is_damaged_not_plain(
    kinsight: Terminal, lala: Path, tmp_path: Path, encrypted: bool
) -> None:
    fine(kinsight("remember", lala, "--name", "Lala"))
    if encrypted:
        fine(kinsight("vault", "on", "--key-file", tmp_path / "a key"))
    store = kinsight.home / "store.db"
    with store.open("r+b") as file:
        file.write(bytes(100))
    left = store.read_bytes()
    for words in (("vault", "status"), ("vault", "on", "--key-file", tmp_path / "another key")):
        said = kinsight("-q", *words)
        assert (said.code, said.out) == (1, "")
        assert "is damaged: it does not begin like a database: put a backup in its place" in said.err
        assert said.err.count("\n") == 1
    assert store.read_bytes() == left
    assert not (tmp_path / "another key").exists()
