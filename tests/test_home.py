"""The home folder: where it is, that it is private, and what is said where it cannot be used."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from kinsight.errors import HomeError
from kinsight.home import Home, open_home, write_private

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KINSIGHT_HOME", raising=False)


@pytest.fixture
def as_plain_user() -> Iterator[Path]:
    """A folder of a user who is not root, for the time of a test: root can write whatever the mode says."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_new_home_is_private(tmp_path: Path) -> None:
    home = open_home(tmp_path / "deep" / "home")
    assert home == Home(tmp_path / "deep" / "home")
    for folder in (home.folder, home.cache, home.bundles, home.index):
        assert folder.is_dir() and mode(folder) == 0o700
    assert (home.store.name, home.token.name) == ("store.db", "token")
    assert {home.store.parent, home.token.parent} == {home.folder}
    assert sorted(path.name for path in home.folder.iterdir()) == ["bundles", "cache", "index"]


def test_a_home_of_a_user_who_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_home(Path("~nobody-at-all/home")).folder == tmp_path / "~nobody-at-all" / "home"


def test_opening_again_keeps_everything(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    home.store.write_text("kept")
    (home.bundles / "one").mkdir()
    assert open_home(tmp_path) == home
    assert home.store.read_text() == "kept" and (home.bundles / "one").is_dir()


@pytest.mark.parametrize("loose", [0o755, 0o777, 0o701])
def test_a_home_open_to_others_is_closed(tmp_path: Path, loose: int) -> None:
    tmp_path.chmod(loose)
    open_home(tmp_path)
    assert mode(tmp_path) == 0o700


def test_the_order_of_choosing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert open_home().folder == platformdirs.user_data_path("kinsight", appauthor=False)
    assert tmp_path in open_home().folder.parents
    monkeypatch.setenv("KINSIGHT_HOME", str(tmp_path / "chosen"))
    assert open_home().folder == tmp_path / "chosen"
    assert open_home(tmp_path / "asked").folder == tmp_path / "asked"
    monkeypatch.setenv("KINSIGHT_HOME", "~/mine")
    assert open_home().folder == tmp_path / "user" / "mine"
    monkeypatch.chdir(tmp_path)
    assert open_home(Path("here")).folder == tmp_path / "here"


def refusal(folder: Path) -> str:
    with pytest.raises(HomeError, match="KINSIGHT_HOME") as caught:
        open_home(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    assert "not a folder): make it a folder" in refusal(tmp_path / "file")
    assert "Not a directory): make it a folder" in refusal(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_file_where_the_cache_belongs(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("kept")
    assert f"{tmp_path / 'cache'}: not a folder" in refusal(tmp_path)


def test_a_home_that_cannot_be_written(as_plain_user: Path) -> None:
    open_home(as_plain_user)
    as_plain_user.chmod(0o500)
    assert "Permission denied" in refusal(as_plain_user)
    as_plain_user.chmod(0o700)
    open_home(as_plain_user)


def test_a_home_that_cannot_be_made(as_plain_user: Path) -> None:
    as_plain_user.chmod(0o500)
    assert "Permission denied" in refusal(as_plain_user / "new")


def test_the_home_of_another_user(as_plain_user: Path) -> None:
    assert "belongs to another user: run as that user" in refusal(Path("/"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_leaves_the_home_of_another_user_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    os.chown(tmp_path, NOBODY, NOBODY)
    assert "belongs to another user" in refusal(tmp_path)
    assert mode(tmp_path) == 0o755 and not list(tmp_path.iterdir())


def test_a_private_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_private(path, b"first")
    assert path.read_bytes() == b"first" and mode(path) == 0o600
    write_private(path, b"second", mode=0o640)
    assert path.read_bytes() == b"second" and mode(path) == 0o640
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_private(tmp_path / "taken", b"x")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["taken", "token"]
