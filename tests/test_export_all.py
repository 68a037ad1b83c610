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


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that the catalogue has."""
    return make_bundle(tmp_path_factory.mktemp("maker") / "tiny", calibrated=False).folder


@pytest.fixture
def shop(served: Served, maker: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a catalogue of one bundle and a device config that names it."""
    monkeypatch.setenv("KINSIGHT_HOME", str(home))
    offer(served, maker, tmp_path / "catalogue.toml")
    (tmp_path / "little.toml").write_text(DEVICE, encoding="utf-8")
    return tmp_path


def make(shop: Path, capfd: pytest.CaptureFixture[str], *words: str | Path) -> Said:
    capfd.readouterr()
    place = ("--device", shop / "little.toml", "--catalogue", shop / "catalogue.toml", "--out", shop / "mine")
    with pytest.raises(SystemExit) as left:
        main(["all", *map(str, (*place, *words))])
    said = capfd.readouterr()
    assert isinstance(left.value.code, int)
    return Said(left.value.code, said.out, said.err)


@pytest.mark.stress
def test_a_whole_bundle(shop: Path, served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    draw_identities(shop / "blobs", ["orange", "yellow", "green", "blue"], photos=3)
    said = make(shop, capfd, "--photos", shop / "blobs")
    assert said.code == 0, said
    found = read_bundle(shop / "mine")
    check_hashes(found)
    assert found.name == "mine" and found.licence in ("MIT", "Apache-2.0")
    assert found.embedder.calibration and "blobs, 4 identities" in found.embedder.calibration.fitted_on
    assert {"detector_candidates", "embedder_candidates", "text_candidates"} <= found.parity.keys()
    assert "mine for little is written to" in said.out and "mine accepts from probability" in said.out
    assert "detector: well" in said.out
    asked = len(served.log)
    assert asked and make(shop, capfd, "--replace").code == 0
    assert len(served.log) == asked  # nothing is downloaded a second time


def test_a_part_of_ones_own_takes_the_place_of_the_catalogues(
    shop: Path, maker: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = spec_of(maker).embedder
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
