"""`kinsight-export all`: a whole bundle for a device out of the catalogue, served by a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from identities import draw_identities
from kinsight.bundle import check_hashes, read_bundle
from kinsight_export.cli import main
from kinsight_export.parts import spec_of, write_part
from standin import Served, offer, serving
from terminal import Said
from tiny import make_bundle

DEVICE = """
[device]
name = "little"
providers = ["CPUExecutionProvider"]
threads = 1
memory_mb = 0
bundle = "tiny"
[llm]
gpu_layers = 0
kv_type = "f16"
flash_attention = false
"""


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as server:
        yield server


@pytest.fixture
def shop(served: Served, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a catalogue of one bundle, a device config that names it, and photos."""
    monkeypatch.setenv("KINSIGHT_HOME", str(home))
    bundle = make_bundle(tmp_path / "maker" / "tiny", calibrated=False)
    offer(served, bundle.folder, tmp_path / "catalogue.toml")
    (tmp_path / "little.toml").write_text(DEVICE, encoding="utf-8")
    draw_identities(tmp_path / "blobs", ["orange", "yellow", "green", "blue", "purple", "pink"])
    return tmp_path


def make(shop: Path, capfd: pytest.CaptureFixture[str], *words: str | Path) -> Said:
    capfd.readouterr()
    place = ("--device", shop / "little.toml", "--catalogue", shop / "catalogue.toml", "--out", shop / "mine")
    with pytest.raises(SystemExit) as left:
        main(["all", *map(str, (*place, *words))])
    said = capfd.readouterr()
    assert isinstance(left.value.code, int)
    return Said(left.value.code, said.out, said.err)


def test_a_whole_bundle(shop: Path, served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    said = make(shop, capfd, "--photos", shop / "blobs")
    assert said.code == 0, said
    found = read_bundle(shop / "mine")
    check_hashes(found)
    assert found.name == "mine" and found.licence in ("MIT", "Apache-2.0")
    assert found.embedder.calibration and "blobs, 6 identities" in found.embedder.calibration.fitted_on
    assert {"detector_candidates", "embedder_candidates"} <= found.parity.keys()
    assert "mine for little is written to" in said.out and "mine accepts from probability" in said.out
    assert "detector: well" in said.out
    asked = len(served.log)
    assert asked and make(shop, capfd, "--replace").code == 0
    assert len(served.log) == asked  # nothing is downloaded a second time


def test_a_part_of_ones_own_takes_the_place_of_the_catalogues(
    shop: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = spec_of(shop / "maker" / "tiny").embedder
    write_part(own, {"embedder": {"source": "mine"}}, shop / "part")
    said = make(shop, capfd, "--embedder", shop / "part")
    assert said.code == 0, said
    assert read_bundle(shop / "mine").parity["embedder"] == {"source": "mine"}
    assert "It names nobody yet: run kinsight-export calibrate" in said.out
    said = make(shop, capfd, "--detector", shop / "part", "--replace")
    assert said.code == 1 and "part holds another part: pass it where it belongs" in said.err


def test_what_the_catalogue_does_not_have(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = make(shop, capfd, "--bundle", "huge")
    assert said.code == 1 and "the catalogue has no bundle 'huge': choose one of tiny" in said.err
    assert not (shop / "mine").exists()
