"""The full-scale runs of what the quick suite does a little of: `python tests/stress.py --rounds 200`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import killing
from test_store_names import the_whole_way


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=200, help="kills of a process that changes a store")
    options.add_argument("--names", type=int, default=10_000, help="invented names that go the whole way")
    options.add_argument("--seed", type=int, default=7)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.rounds:
            killing.report(Path(folder) / "kills", chosen.rounds, chosen.seed)
        if chosen.names:
            (Path(folder) / "names").mkdir()
            kept = the_whole_way(Path(folder) / "names", chosen.names, chosen.seed)
            print(
                f"{kept} names of {chosen.names} went the whole way, the others were refused or there already"
            )


if __name__ == "__main__":
    main()
