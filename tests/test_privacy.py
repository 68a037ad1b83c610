"""Nothing leaves the machine, and nothing is kept outside the home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import BlobPhoto
from tiny import Blob

NO_NETWORK = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        sys.exit(f"{event} {arguments}")

sys.addaudithook(refuse)
from kinsight.cli import main
main()
"""


def test_teaching_and_looking_leave_no_trace_but_in_the_home(
    tiny_bundle: Path, blob_photo: BlobPhoto, tmp_path: Path
) -> None:
    """ONNX Runtime's telemetry would make an identifier and a queue in the cache folder."""
    home, account = tmp_path / "home", tmp_path / "account"
    account.mkdir()
    folders = {"HOME": "", "XDG_CACHE_HOME": "cache", "XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config"}
    environment = {**os.environ, **{name: str(account / sub) for name, sub in folders.items()}}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    photo = blob_photo([Blob("red", (60, 200, 220, 420))])
    for words in (["remember", str(photo), "--name", "Lala"], ["look", str(photo)]):
        options = ["--home", str(home), "--bundle", str(tiny_bundle), "-q"]
        command = [sys.executable, "-c", NO_NETWORK, *options, *words]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.startswith("Lala")
    assert list(account.rglob("*")) == []
