"""`kinsight pull` against a server that behaves like a model hub and a page of releases."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from full_disk import files_up_to
from kinsight.bundle import check_hashes, read_bundle, verify_bundle
from kinsight.catalogue import Order, load_catalogue, pull, remove
from kinsight.catalogue.download import Patience, _next
from kinsight.catalogue.entries import RemoteFile
from kinsight.doctor.bundles import examine_downloads
from kinsight.errors import PullError
from kinsight.home import Home, open_home
from standin import REVISION, Served, offer, serving
from terminal import Terminal, fine
from tiny import make_bundle

HASTY = Patience(tries=3, first_wait=0.0, longest_wait=0.0)
QUICK = Order(patience=HASTY)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as server:
        yield server


@pytest.fixture
def catalogue(served: Served, tiny_bundle: Path, tmp_path: Path) -> Path:
    """Offers the tiny bundle."""
    offer(served, tiny_bundle, tmp_path / "catalogue.toml")
    return tmp_path / "catalogue.toml"


@pytest.fixture
def my_home(home: Path) -> Home:
    return open_home(home)


def silent(file: str, done: int, total: int) -> None:
    pass


def left(home: Home) -> list[str]:
    """What lies about of a bundle that is not installed."""
    return [path.name for path in (*(home.cache / "pull").iterdir(), *home.bundles.iterdir())]


def test_every_file_comes_through_redirects_and_the_bundle_is_whole(
    served: Served, catalogue: Path, my_home: Home, tiny_bundle: Path
) -> None:
    told: dict[str, tuple[int, int]] = {}
    entry = load_catalogue(catalogue).entry("tiny")
    bundle, fresh = pull(entry, my_home, QUICK, lambda file, done, total: told.update({file: (done, total)}))
    assert fresh and bundle == read_bundle(my_home.bundles / "tiny")
    source = read_bundle(tiny_bundle)
    assert [sha256 for _, sha256 in bundle.hashes()] == [sha256 for _, sha256 in source.hashes()]
    assert bundle.detector.labels == source.detector.labels
    check_hashes(bundle)
    assert verify_bundle(bundle, my_home.cache) is False  # nothing is hashed a second time at the first start
    assert told == {file.name: (file.size, file.size) for file in entry.files}
    paths = [path for path, _ in served.log]
    assert (
        f"/owner/model/resolve/{REVISION}/image.onnx" in paths and "/cdn/image.onnx?signature=secret" in paths
    )
    assert "/owner/tool/releases/download/v1/detector.onnx" in paths
    assert "/assets/detector.onnx?signature=secret" in paths
    assert left(my_home) == ["tiny"]
    asked = len(served.log)
    assert pull(entry, my_home, QUICK, silent)[1] is False
    assert len(served.log) == asked


@pytest.mark.parametrize("brought", [False, True], ids=["pulled", "brought"])
def test_what_was_spoiled_while_it_waited_is_had_again(
    served: Served, catalogue: Path, my_home: Home, tmp_path: Path, brought: bool
) -> None:
    sha256 = hash_of(catalogue, "image.onnx")
    waiting = my_home.cache / "pull" / sha256
    waiting.parent.mkdir()
    waiting.write_bytes(b"spoiled by a disk")
    order = QUICK
    if brought:
        (tmp_path / "stick").mkdir()
        for row, data in enumerate(served.files.values()):
            (tmp_path / "stick" / str(row)).write_bytes(data)
        order = replace(QUICK, source=tmp_path / "stick")
    bundle, _ = pull(load_catalogue(catalogue).entry("tiny"), my_home, order, silent)
    check_hashes(bundle)
    assert left(my_home) == ["tiny"]


KILLED = 40 * (1 << 14)  # bytes of the language model that are here before the kill


def test_it_goes_on_where_it_was_killed(
    served: Served, catalogue: Path, home: Path, my_home: Home, tmp_path: Path
) -> None:
    served.files["llm.gguf"] += os.urandom(2_000_000)
    reoffer(served, catalogue, "llm.gguf")
    served.piece_seconds = 0.002
    command = [sys.executable, "-m", "kinsight", "--home", str(home), "pull", "tiny", "--no-try"]
    command += ["--catalogue", str(catalogue)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        part = home / "cache" / "pull" / f"{hash_of(catalogue, 'llm.gguf')}.part"
        waited = time.monotonic()
        while not (part.exists() and part.stat().st_size > KILLED):
            assert process.poll() is None and time.monotonic() - waited < 60
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    here = part.stat().st_size
    assert not (home / "bundles" / "tiny").exists()
    served.piece_seconds = 0.0
    served.sent = 0
    served.log.clear()
    bundle, _ = pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    (asked,) = served.asked("llm.gguf")
    assert asked["range"] == f"bytes={here}-" and asked["if-range"].startswith('"')
    assert served.sent <= 2_100_000 + len(served.files["llm.gguf"]) - here
    assert served.asked("image.onnx") == []
    check_hashes(bundle)


def reoffer(served: Served, catalogue: Path, file: str) -> None:
    """The catalogue gets the hash and size of what the server has now."""
    import hashlib

    old = next(found for found in load_catalogue(catalogue).entry("tiny").files if found.name == file)
    data = served.files[file]
    text = catalogue.read_text(encoding="utf-8").replace(old.sha256, hashlib.sha256(data).hexdigest())
    catalogue.write_text(text.replace(f"bytes = {old.size}\n", f"bytes = {len(data)}\n"), encoding="utf-8")


def hash_of(catalogue: Path, file: str) -> str:
    return next(found.sha256 for found in load_catalogue(catalogue).entry("tiny").files if found.name == file)


@pytest.mark.parametrize("where", ["hub", "release"])
def test_another_file_is_refused_and_removed(
    served: Served, catalogue: Path, my_home: Home, where: str
) -> None:
    file = {"hub": "image.onnx", "release": "detector.onnx"}[where]
    data = bytearray(served.files[file])
    data[-1] ^= 1
    served.files[file] = bytes(data)
    with pytest.raises(
        PullError, match=rf"{file} from http://127.*/{file} is another file .* removed"
    ) as caught:
        pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    assert "signature" not in str(caught.value)
    assert not any(hash_of(catalogue, file) in name for name in left(my_home))
    assert "tiny" not in left(my_home)
    assert len(served.asked(file)) == 1


def test_what_a_kill_has_damaged_is_fetched_anew(served: Served, catalogue: Path, my_home: Home) -> None:
    """As a loss of power leaves it: zeros where the bytes should be."""
    (my_home.cache / "pull").mkdir()
    part = my_home.cache / "pull" / f"{hash_of(catalogue, 'image.onnx')}.part"
    part.write_bytes(bytes(1000))
    bundle, _ = pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    check_hashes(bundle)
    assert [headers.get("range") for headers in served.asked("image.onnx")] == ["bytes=1000-", None]


def test_a_disk_that_is_too_small_is_said_before_anything_is_asked_for(
    served: Served, catalogue: Path, my_home: Home
) -> None:
    size = len(served.files["llm.gguf"])
    huge = catalogue.read_text().replace(f"bytes = {size}\n", f"bytes = {1 << 40}\n")
    catalogue.write_text(huge)
    with pytest.raises(
        PullError,
        match=r"1099\.\d GB are to be written and 100 MB kept free, .* free: free some",
    ):
        pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    assert served.log == [] and left(my_home) == []


def test_a_disk_that_fills_up_keeps_what_is_there(
    served: Served, catalogue: Path, my_home: Home, kinsight: Terminal
) -> None:
    with files_up_to(30_000):
        said = kinsight("pull", "tiny", "--catalogue", catalogue)
    assert said.code == 1
    (line,) = [line for line in said.err.splitlines() if line.startswith("kinsight: ")]
    assert "cannot be written (File too large): free some space and run the same command again" in line
    pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    assert any(headers.get("range") == "bytes=30000-" for _, headers in served.log)


def test_what_a_stopped_pull_leaves_is_said_and_can_be_deleted(
    served: Served, catalogue: Path, my_home: Home, kinsight: Terminal
) -> None:
    assert list(examine_downloads(my_home)) == []
    with files_up_to(30_000):
        kinsight("pull", "tiny", "--catalogue", catalogue)
    (found,) = examine_downloads(my_home)
    assert found.state == "note" and "kinsight models clean deletes it" in found.mend
    assert "0 MB are free again" in fine(kinsight("models", "clean")).out
    assert left(my_home) == [] and list(examine_downloads(my_home)) == []
    fine(kinsight("pull", "tiny", "--no-try", "--catalogue", catalogue))
    assert not any("range" in headers for _, headers in served.log)


def test_a_long_download_tells_its_progress_without_a_terminal_too(
    served: Served, catalogue: Path, kinsight: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, more in ((15.0, False), (0.0, True)):
        monkeypatch.setattr("kinsight.cli.pulling._EVERY_LINE", seconds)
        monkeypatch.setattr("kinsight.catalogue.download._CHUNK", 10_000)
        said = fine(kinsight("pull", "tiny", "--no-try", "--again", "--catalogue", catalogue))
        lines = [line for line in said.err.splitlines() if re.match(r"\S+: \d+ of \d+ MB", line)]
        assert (len(lines) > len(served.files)) == more and len(lines) >= len(served.files)
        fine(kinsight("models", "remove", "tiny"))


def test_which_bundle_is_used_is_said_where_it_is_another(
    catalogue: Path, my_home: Home, kinsight: Terminal, tmp_path: Path
) -> None:
    make_bundle(my_home.bundles / "mine")
    said = fine(kinsight("pull", "tiny", "--no-try", "--catalogue", catalogue))
    assert "is used where none is asked for" not in said.err  # the one installed last
    device = Path(__file__).parents[1] / "device_configs" / "laptop-cpu.toml"
    own = tmp_path / "own.toml"
    own.write_text(device.read_text().replace('bundle = "small"', 'bundle = "mine"'))
    said = fine(kinsight("pull", "tiny", "--no-try", "--catalogue", catalogue, "--device", own))
    assert "mine is used where none is asked for (named by the device config)" in said.err
    assert "--bundle tiny" in said.err


def test_a_busy_server_and_a_connection_that_breaks_are_asked_again(
    served: Served, catalogue: Path, my_home: Home
) -> None:
    served.busy, served.drop_after = 2, 1 << 15
    check_hashes(pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)[0])
    assert served.drop_after == 0
    ranges = [headers["range"] for _, headers in served.log if "range" in headers]
    assert any(int(asked[6:-1]) > 0 for asked in ranges)


def test_a_server_that_stays_busy_is_given_up(served: Served, catalogue: Path, my_home: Home) -> None:
    served.busy = 1000
    with pytest.raises(
        PullError, match=r"cannot be had from .*\(it answers 503\): check the network and run the same"
    ):
        pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    assert len([path for path, _ in served.log if path.startswith("/assets/")]) == HASTY.tries


def test_nobody_there(served: Served, catalogue: Path, my_home: Home, tmp_path: Path) -> None:
    gone = catalogue.read_text().replace(served.address, "http://127.0.0.1:1")
    (tmp_path / "gone.toml").write_text(gone)
    with pytest.raises(PullError, match=r"cannot be had from http://127\.0\.0\.1:1/.*: check the network"):
        pull(load_catalogue(tmp_path / "gone.toml").entry("tiny"), my_home, QUICK, silent)


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, r"is not there \(404\)"), (401, "wants an account"), (403, "wants an account")],
)
def test_a_refusal_is_not_repeated(
    served: Served, catalogue: Path, my_home: Home, status: int, words: str
) -> None:
    served.refuses = status
    with pytest.raises(PullError, match=words):
        pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    assert len(served.log) == 1


@pytest.mark.parametrize("fault", ["no ranges", "another version", "no length"])
def test_a_part_that_cannot_be_continued_is_begun_anew(
    served: Served, catalogue: Path, my_home: Home, fault: str
) -> None:
    served.ranges, served.length = fault != "no ranges", fault != "no length"
    (my_home.cache / "pull").mkdir()
    part = my_home.cache / "pull" / f"{hash_of(catalogue, 'image.onnx')}.part"
    part.write_bytes(served.files["image.onnx"][:700])
    etag = '"of another version"' if fault == "another version" else ""
    part.with_name(f"{part.name}.etag").write_text(etag)
    check_hashes(pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)[0])
    assert len(served.asked("image.onnx")) == 1


def test_a_file_of_another_size_than_published_is_refused_at_once(
    served: Served, catalogue: Path, my_home: Home
) -> None:
    served.files["detector.onnx"] += bytes(100_000)
    with pytest.raises(PullError, match=r"detector\.onnx has \d+ bytes at .*, but \d+ in the catalogue"):
        pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    assert "tiny" not in left(my_home)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ("http://example.org/image.onnx", "which is not encrypted"),
        ("ftp://127.0.0.1/image.onnx", "which is not encrypted"),
        ("file:///etc/passwd", "which is not encrypted"),
        ("/owner/model/resolve/x/image.onnx", "from one address to the next without end"),
        ("https://a:b:c/", "Invalid URL in location header"),
    ],
)
def test_a_redirect_that_is_not_safe_is_not_followed(
    served: Served, catalogue: Path, my_home: Home, there: str, words: str
) -> None:
    served.redirects["image.onnx"] = there
    with pytest.raises(PullError, match=words):
        pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)


def test_a_redirect_takes_no_password_along_and_does_not_lead_back_here() -> None:
    file = RemoteFile("a", "https://me:secret@hub.example/a", "", 1)
    assert str(_next(httpx.URL(file.url), "https://cdn.example/a?s=1", file)) == "https://cdn.example/a?s=1"
    for there in ("http://127.0.0.1/a", "https://localhost/a", "https://[::1]/a", "http://cdn.example/a"):
        with pytest.raises(PullError) as caught:
            _next(httpx.URL(file.url), there, file)
        assert "secret" not in str(caught.value)


def test_a_mirror_takes_the_place_of_every_server(
    served: Served, catalogue: Path, my_home: Home, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(catalogue.read_text().replace(served.address, "https://no-such-host.invalid"))
    entry = load_catalogue(elsewhere).entry("tiny")
    check_hashes(pull(entry, my_home, Order(mirror=f"{served.address}/", patience=HASTY), silent)[0])
    with pytest.raises(PullError, match=r"the mirror .http://mirror\.example. is not encrypted"):
        pull(entry, my_home, Order(mirror="http://mirror.example", again=True), silent)
    with pytest.raises(PullError, match="is not encrypted"):
        pull(entry, my_home, Order(mirror="http://127.0.0.1.example", again=True), silent)


def test_a_licence_that_is_not_free_is_accepted_by_its_name(
    served: Served, tiny_bundle: Path, tmp_path: Path, my_home: Home
) -> None:
    offer(served, tiny_bundle, tmp_path / "catalogue.toml", licence="AGPL-3.0")
    entry = load_catalogue(tmp_path / "catalogue.toml").entry("tiny")
    for accepted in ((), ("GPL-3.0",)):
        with pytest.raises(
            PullError, match=r"under AGPL-3\.0, which .* run `kinsight pull tiny --accept 'AGPL-3\.0'`"
        ):
            pull(entry, my_home, Order(accepted=accepted), silent)
    assert served.log == []
    bundle, _ = pull(entry, my_home, Order(accepted=("AGPL-3.0",), patience=HASTY), silent)
    assert bundle.licence == bundle.detector.licence == "AGPL-3.0"


def test_what_another_bundle_has_is_not_downloaded_again(
    served: Served, catalogue: Path, my_home: Home, tiny_bundle: Path, tmp_path: Path
) -> None:
    pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)
    served.log.clear()
    offer(served, tiny_bundle, tmp_path / "second.toml", name="second")
    second, fresh = pull(load_catalogue(tmp_path / "second.toml").entry("second"), my_home, QUICK, silent)
    assert fresh and second.name == "second"
    assert [path for path, _ in served.log if "tokenizer" not in path] == []
    damaged = my_home.bundles / "tiny" / "image.onnx"
    damaged.unlink()
    damaged.write_bytes(b"damaged")
    check_hashes(second)  # the other one has not suffered
    remove("second", my_home)
    third, _ = pull(load_catalogue(tmp_path / "second.toml").entry("second"), my_home, QUICK, silent)
    check_hashes(third)  # and a damaged one is not taken over
    assert served.asked("image.onnx")


def test_a_damaged_bundle_is_mended_by_the_same_command(
    served: Served, catalogue: Path, my_home: Home
) -> None:
    entry = load_catalogue(catalogue).entry("tiny")
    pull(entry, my_home, QUICK, silent)
    file = my_home.bundles / "tiny" / "image.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    bundle, fresh = pull(entry, my_home, QUICK, silent)
    assert fresh
    check_hashes(bundle)
    assert sorted(path.name for path in my_home.bundles.iterdir()) == ["tiny"]


def test_only_one_at_a_time(served: Served, catalogue: Path, my_home: Home) -> None:
    from kinsight.catalogue.staging import alone

    with alone(my_home), pytest.raises(PullError, match="another kinsight is installing a bundle"):
        pull(load_catalogue(catalogue).entry("tiny"), my_home, QUICK, silent)


def test_the_command_pulls_tries_lists_and_removes(
    served: Served, catalogue: Path, kinsight: Terminal
) -> None:
    """The tiny bundle's language model talks nonsense, so its smoke question fails, which is said."""
    said = kinsight("pull", "tiny", "--catalogue", catalogue)
    assert said.code == 1
    assert "detector: well" in said.out and "embedder: well" in said.out
    assert "language model: failed" in said.out or "language model: skipped" in said.out
    assert f"tiny is installed in {kinsight.home}/bundles/tiny" in said.out
    assert "`kinsight models remove tiny` removes it" in said.err
    listed = fine(kinsight("models", "--catalogue", catalogue, "--json")).json
    assert [(row["name"], row["installed"], row["fits"]) for row in listed["bundles"]] == [
        ("tiny", True, True)
    ]
    assert listed["bundles"][0]["disk"] == 0
    shown = fine(kinsight("models", "show", "tiny", "--catalogue", catalogue))
    assert served.hub("image.onnx") in shown.out and hash_of(catalogue, "image.onnx") in shown.out
    assert "tiny is removed" in fine(kinsight("models", "remove", "tiny")).out
    assert "there is no installed bundle 'tiny'" in kinsight("models", "remove", "tiny").err
    assert kinsight("pull", "tinny", "--catalogue", catalogue).err.startswith(
        "kinsight: the catalogue has no bundle 'tinny': choose one of tiny"
    )


def test_json_of_a_pull(served: Served, catalogue: Path, kinsight: Terminal) -> None:
    said = fine(kinsight("pull", "tiny", "--no-try", "--json", "--catalogue", catalogue))
    folder = str(kinsight.home / "bundles" / "tiny")
    assert said.json == {"format": 1, "bundle": "tiny", "folder": folder, "fresh": True, "tried": None}
    assert json.loads(said.out)
