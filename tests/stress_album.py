"""An album whose adding is killed: `python tests/stress_album.py --photos FOLDER --count 2000`.

Cuts so many crops from the photos of a folder, every one changed a little (without a folder from drawn
ones), and adds them with `kinsight album add`, killed with SIGKILL at random moments and begun anew. The
last line is JSON. The exit code says whether what was kept before a kill was looked at again, whether a
photo is missing, and whether all runs together took more than `--most` times the processor time of detecting
and embedding alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kinsight.assistant import Assistant, Choices
from kinsight.bench.album import bare_s
from kinsight.drawn import draw_scene, individual
from kinsight.image import PHOTO_SUFFIXES, load, save
from kinsight.types import Pixels

BARE_EACH = 8  # every so many-th photo is looked at bare and stands for the others
FOLDERS = 10
PATIENCE_S = 600  # without a photo more


def cut(photos: list[Path], count: int, folder: Path, seed: int) -> None:
    """Crops of .5 to 1 of the sides, mirrored at times, of another brightness; no two files are equal."""
    rng, dice = np.random.default_rng(seed), random.Random(seed)
    pixels: Pixels | None = None
    for number in range(count):
        if number % -(-count // max(len(photos), 1)) == 0 and photos:
            pixels = load(photos[number * len(photos) // count]).pixels
        if not photos:
            pixels = draw_scene([individual(rng) for _ in range(dice.randint(1, 3))], rng).pixels
        assert pixels is not None
        height, width = (int(side * dice.uniform(0.5, 1)) for side in pixels.shape[:2])
        top, left = (
            dice.randint(0, side - kept) for side, kept in zip(pixels.shape, (height, width), strict=False)
        )
        crop = pixels[top : top + height, left : left + width][:, :: dice.choice((1, -1))]
        bright = np.clip(crop * dice.uniform(0.8, 1.2) + dice.uniform(-9, 9), 0, 255).astype(np.uint8)
        place = folder / str(number % FOLDERS)
        place.mkdir(parents=True, exist_ok=True)
        save(bright, place / f"{number:05}.jpg")


def kept(home: Path) -> dict[str, tuple[int, int | None]]:
    """Hash -> ids of every photo in the album and of its first region; readable while another process writes.

    A photo that is looked at again keeps its id, its regions get new ones, which are never used twice.
    """
    if not (home / "store.db").exists():
        return {}
    connection = sqlite3.connect(f"file:{home / 'store.db'}?mode=ro", uri=True, timeout=60)
    try:
        rows = connection.execute(
            "select sha256, album_photo.id, min(album_region.id) from album_photo"
            " left join album_region on photo_id = album_photo.id group by album_photo.id"
        )
        return {sha256: (photo, region) for sha256, photo, region in rows}
    except sqlite3.OperationalError:  # the tables are not there yet
        return {}
    finally:
        connection.close()


def looked_at_again(before: Mapping[str, object], after: Mapping[str, object]) -> int:
    """Photos that were kept before, and are now not as they were."""
    return sum(after.get(sha256) != seen for sha256, seen in before.items())


def add(words: list[str], home: Path, until: float, delay_s: float = 0.0) -> tuple[str, float]:
    """What `album add` said, "" where it was killed, and its processor seconds.

    It is killed `delay_s` after it has kept `until` photos.
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.DEVNULL)
        moved = time.monotonic(), -1
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            now = len(kept(home))
            if now != moved[1]:
                moved = time.monotonic(), now
            if now >= until or time.monotonic() - moved[0] > PATIENCE_S:
                time.sleep(delay_s)
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.05)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return said.read() if process.returncode == 0 else "", used.ru_utime + used.ru_stime


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    home, pictures = folder / "home", folder / "pictures"
    found = sorted(options.photos.rglob("*")) if options.photos else []
    cut([path for path in found if path.suffix in PHOTO_SUFFIXES], options.count, pictures, options.seed)
    words = [sys.executable, "-m", "kinsight", "--home", str(home)]
    words += ["--bundle", options.bundle] if options.bundle else []
    words += ["album", "add", str(pictures), "--json"]
    dice, spent, repeated, runs = random.Random(options.seed), 0.0, 0, [0]
    for turn in range(options.kills):
        before = kept(home)
        _, used = add(
            words, home, options.count * (turn + dice.random()) / (options.kills + 1), dice.random()
        )
        after = kept(home)
        repeated += looked_at_again(before, after)
        runs, spent = [*runs, len(after) - len(before)], spent + used
    before = kept(home)
    said, used = add(words, home, math.inf)
    repeated += looked_at_again(before, kept(home))
    last = json.loads(said.splitlines()[-1]) if said else {}
    again, _ = add(words, home, math.inf)
    left = json.loads(again.splitlines()[-1]) if again else {}
    with Assistant.open(Choices(folder / "bare", options.bundle)) as assistant:
        each = bare_s(assistant, sorted(pictures.rglob("*.jpg"))[::BARE_EACH])
    ratio = (spent + used) / options.count / each
    return {
        "format": 1,
        "stress": "album",
        "photos": options.count,
        "kills": options.kills,
        "new_each_run": [*runs[1:], last.get("added")],
        "known_to_the_last": [last.get("known"), len(before)],
        "repeated": repeated,
        "there": len(kept(home)),
        "new_in_one_more_run": left.get("added"),
        "bare_ms": round(1e3 * each, 2),
        "ratio": round(ratio, 3),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--photos", type=Path, help="a folder of photos; without it they are drawn")
    options.add_argument("--bundle", help="a bundle's folder or name; else the built-in one")
    options.add_argument("--count", type=int, default=2000)
    options.add_argument("--kills", type=int, default=3)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--most", type=float, default=0.0, help="exit code 1 beyond this ratio")
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        report = run(chosen, folder)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(report))
    well = (
        report["there"] == chosen.count
        and report["repeated"] == 0
        and report["known_to_the_last"] == [chosen.count - report["new_each_run"][-1]] * 2
        and report["new_in_one_more_run"] == 0
    )
    sys.exit(0 if well and (not chosen.most or report["ratio"] <= chosen.most) else 1)


if __name__ == "__main__":
    main()
