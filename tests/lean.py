"""Runs in an environment that has only what a device installs: pulls a bundle from a stand-in, and uses it.

    make lean

The built-in bundle is offered as a hub and a page of releases would, pulled and tried; it looks and answers.
The last line is JSON: what was done, and what the environment takes on the disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from kinsight.bundle import pocket_folder
from kinsight.demo import SEED
from kinsight.demo.programme import drawn_programme
from standin import offer, serving

ONE_THREAD = """
[device]
name = "one-thread"
providers = ["CPUExecutionProvider"]
threads = 1
memory_mb = 0
"""
NOT_HERE = ("torch", "transformers", "optimum", "onnx", "ultralytics", "gguf", "pytest", "matplotlib")


def kinsight(home: Path, *words: str | Path) -> str:
    """What a command prints; it must end well."""
    device = home.with_name("one-thread.toml")  # small models are slower with more, on a busy machine
    device.write_text(ONE_THREAD, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "kinsight",
        "--home",
        str(home),
        "--device",
        str(device),
        *map(str, words),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    print("$ kinsight", *words, "\n", run.stdout, run.stderr, flush=True)
    assert run.returncode == 0, run.returncode
    return run.stdout


def main() -> None:
    """Exit code 0 where all of it works."""
    assert [name for name in NOT_HERE if find_spec(name)] == []
    pocket = pocket_folder()
    assert pocket
    with tempfile.TemporaryDirectory() as scratch, serving() as served:
        home, catalogue = Path(scratch) / "home", Path(scratch) / "catalogue.toml"
        offer(served, pocket, catalogue, name="pulled")
        said = kinsight(home, "pull", "pulled", "--catalogue", catalogue)
        assert said.count(": well, ") == 4, said
        (Path(scratch) / "album").mkdir()
        programme = drawn_programme(SEED, Path(scratch) / "album")
        friend = programme.friends[0]
        kinsight(home, "remember", friend.picture, "--name", friend.name, "--region", "1")
        pictures = [look.picture for look in programme.looks if friend.name in look.present]
        seen = next(picture for picture in pictures if friend.name in kinsight(home, "look", picture))
        assert friend.name in kinsight(home, "ask", seen, "Who is in this photo?")
        kinsight(home, "doctor", "--verify")
        requests = len(served.log)
    print(json.dumps({"format": 1, "lean": True, "requests": requests, **sizes()}))


def sizes() -> dict[str, float]:
    """Megabytes of the environment, and of the largest packages in it."""
    site = Path(sysconfig.get_path("purelib"))
    by_folder: Counter[str] = Counter()
    for file in site.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            by_folder[file.relative_to(site).parts[0]] += file.stat().st_size
    largest = {f"{name}_mb": round(size / 1e6, 1) for name, size in by_folder.most_common(6)}
    count = len(list(metadata.distributions()))
    return {"packages": count, "site_packages_mb": round(sum(by_folder.values()) / 1e6, 1), **largest}


if __name__ == "__main__":
    main()
