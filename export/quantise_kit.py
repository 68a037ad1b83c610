"""Quantises the kit's real weights with kinsight's own command: all candidates' figures, JSON at the end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from kinsight.bundle import read_bundle
from kinsight.errors import KinsightError
from kinsight_export.cli import cli
from make_kit_bundle import main as make_bundle

WORKS = {
    "MobileNetV2": ("yolox", "embedder"),
    "YOLOX-Nano": ("yolox", "detector"),
    "DEIMv2-atto": ("deimv2-atto", "detector"),
    "DEIMv2-femto": ("deimv2", "detector"),
}
"""What is quantised: the detector of its bundle beside MobileNetV2, and which part of it."""
MOST_CHANGES = 1


def main() -> None:
    """Exit code 1 where something is chosen that changes more than one photo's nearest identity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kit", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=WORKS, action="append", help="Some of them; else all.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found = {name: quantised(name, options.kit, options.out) for name in options.only or WORKS}
    for name, rows in found.items():
        chosen = next(row for row in rows.values() if row["verdict"] == "chosen")
        if chosen.get("identities", 0) > MOST_CHANGES:
            sys.exit(f"{name}: what was chosen changes {chosen['identities']} photos.")
    print(json.dumps({"format": 1, "load": load(), "candidates": found}))


def quantised(name: str, kit: Path, out: Path) -> dict[str, dict[str, object]]:
    """Candidate -> its figures, as they stand in the bundle."""
    detector, part = WORKS[name]
    bundle = out / name.lower()
    print(f"\n{name}, the load of this machine is {load()}", flush=True)
    sys.argv = ["make_kit_bundle", "--kit", str(kit), "--out", str(bundle), "--detector", detector]
    sys.argv += ["--embedder", "mobilenet", "--uncalibrated"]
    make_bundle()
    photos, plot = kit / "photos" / "dreambooth", out / f"{name.lower()}.png"
    words = ["quantise", str(bundle), str(photos), "--part", part, "--thorough", "--plot", str(plot)]
    try:
        cli([*words, "--max-changes", str(MOST_CHANGES)], standalone_mode=False)
    except KinsightError as error:
        sys.exit(f"{error}.")
    rows: dict[str, dict[str, object]] = read_bundle(bundle).parity[f"{part}_candidates"]
    return rows


def load() -> float:
    """Processes that wanted to run in the last minute, on average."""
    return round(os.getloadavg()[0], 1)


if __name__ == "__main__":
    main()
