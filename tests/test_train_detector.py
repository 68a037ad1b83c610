"""The detector's training: targets, a few steps, and a file that the runtime's detector reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinsight.config import load_device
from kinsight.detect import Detector, _yolox
from kinsight.drawn import KINDS, random_scene
from kinsight.errors import ModelError
from kinsight.image import prepare
from kinsight.session import Session

torch = pytest.importorskip("torch")
detector = pytest.importorskip("kinsight_train.detector.training")
matching = pytest.importorskip("kinsight_train.detector.matching")
network = pytest.importorskip("kinsight_train.detector.network")
scenes = pytest.importorskip("kinsight_train.detector.scenes")
loop = pytest.importorskip("kinsight_train.loop")
onnx_file = pytest.importorskip("kinsight_export.onnx_file")
pytestmark = pytest.mark.train

TINY = network.Shape(size=64, widths=(8, 16, 16, 16), neck=16)
SCHEDULE = loop.Schedule(steps=30, batch=4, peak_lr=5e-3, warmup=3, save_every=15)
DEVICE = replace(load_device("laptop-cpu"), threads=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str]]:
    """A tiny network after a few steps, and what its training told."""
    told: list[str] = []
    folder = tmp_path_factory.mktemp("detector")
    return detector.train_detector(folder, SCHEDULE, told.append, 0, TINY), told


@pytest.fixture(scope="module")
def exported(trained: tuple[Any, list[str]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Its file and the figure of the comparison."""
    file = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    return file, detector.export_detector(trained[0], file)


def test_the_losses_fall(tmp_path: Path) -> None:
    totals: list[float] = []

    def noted(module: Any, batch: Any) -> dict[str, Any]:
        parts = matching.losses(module, batch)
        totals.append(sum(part.item() for part in parts.values()))
        return dict(parts)

    torch.manual_seed(0)
    same = scenes.Scenes(0, SCHEDULE.batch, TINY.size)(0)
    loop.train(network.Network(TINY), SCHEDULE, lambda _: same, noted, loop.Run(tmp_path, print, 0))
    assert np.mean(totals[-5:]) < 0.8 * np.mean(totals[:5])


def test_its_worker_draws_the_same(trained: tuple[Any, list[str]], tmp_path: Path) -> None:
    module = detector.train_detector(tmp_path, SCHEDULE, print, 1, TINY)
    ours, theirs = (one.state_dict().values() for one in (module, trained[0]))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_what_it_tells(trained: tuple[Any, list[str]]) -> None:
    assert trained[1][-1].startswith("step 30/30  box ")


def test_the_file_agrees(exported: tuple[Path, float]) -> None:
    file, difference = exported
    assert 0 <= difference <= 1e-3
    assert Session(file, DEVICE).inputs == {"images": (1, 3, 64, 64)}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_runtime_reads_it(exported: tuple[Path, float]) -> None:
    part = replace(detector.part(exported[0], TINY.size), score_threshold=0.0)
    drawing = random_scene(np.random.default_rng(5))
    regions = Detector(part, DEVICE).detect(drawing.pixels)
    assert len(regions.scores) > 0
    assert set(regions.labels) <= set(KINDS)
    height, width = drawing.pixels.shape[:2]
    assert regions.xyxy.min() >= 0
    assert (regions.xyxy.max(axis=0) <= [width, height, width, height]).all()


def test_the_runtime_decodes_as_the_training() -> None:
    raw = np.random.default_rng(1).normal(size=(1, 84, 5 + len(KINDS))).astype(np.float32)
    ours = _yolox({"boxes": raw}, detector.part(Path("x.onnx"), 64)).xyxy
    theirs = matching.decode(torch.from_numpy(raw), 64)[0].numpy()
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_a_scene_is_what_the_runtime_sees() -> None:
    batch = scenes.Scenes(3, 2, 64)(11)
    drawing = random_scene(np.random.default_rng((3, 11, 1)))
    chw, placement = prepare(drawing.pixels, network.preprocess(64))
    assert batch.pixels[1] / np.float32(255) == pytest.approx(chw, abs=1e-6)
    xyxy, kinds = scenes.truth(drawing)
    assert batch.kinds[1].tolist() == [*kinds, *[-1] * (batch.kinds.shape[1] - len(kinds))]
    assert placement.to_photo(batch.xyxy[1][: len(kinds)]) == pytest.approx(xyxy, abs=1e-2)


def targets(boxes: list[list[float]], kinds: list[int]) -> tuple[Any, Any]:
    """Quality and owner per cell where every cell already boxes the thing whose middle is nearest."""
    xyxy = torch.tensor([boxes])
    corners, strides = matching.cells(64, torch.device("cpu"))
    centre = (corners + 0.5) * strides
    middle = (xyxy[0, :, :2] + xyxy[0, :, 2:]) / 2
    guess = xyxy[:, torch.cdist(centre, middle).argmin(1)]
    quality, owner = matching.assign(guess, xyxy, torch.tensor([kinds]))
    return quality[0], owner[0]


def test_each_thing_has_cells_inside_of_it() -> None:
    quality, owner = targets([[0, 0, 24, 32], [34, 30, 62, 62], [0, 0, 0, 0]], [4, 7, -1])
    corners, strides = matching.cells(64, torch.device("cpu"))
    centre = (corners + 0.5) * strides
    for thing, (low, high) in enumerate([((0, 0), (24, 32)), ((34, 30), (62, 62))]):
        mine = centre[(quality > 0) & (owner == thing)]
        assert 1 <= len(mine) <= 8
        assert ((mine > torch.tensor(low)) & (mine < torch.tensor(high))).all()
    assert set(owner[quality > 0].tolist()) == {0, 1}
    assert quality.max() == pytest.approx(1)


def test_a_scene_without_things_costs_only_doubt() -> None:
    quality, _ = targets([[0, 0, 0, 0]], [-1])
    assert quality.sum() == 0
    empty = scenes.Pictures(
        np.zeros((1, 3, 64, 64), np.uint8), np.zeros((1, 8, 4), np.float32), np.full((1, 8), -1)
    )
    losses = matching.losses(network.Network(TINY), empty)
    assert losses["box"] == 0
    assert losses["kind"] == 0
    assert 0 < losses["there"] < 10


def test_generalised_overlap() -> None:
    one, far = torch.tensor([0.0, 0, 10, 10]), torch.tensor([20.0, 0, 30, 10])
    half = torch.tensor([0.0, 0, 10, 5])
    assert matching.pair_iou(one, one).item() == pytest.approx(1)
    assert matching.pair_iou(one, half).item() == pytest.approx(0.5)
    assert matching.pair_iou(one, far).item() == 0
    assert matching.pair_iou(one, far, generalised=True).item() == pytest.approx(-1 / 3)


def test_scores_are_shares(trained: tuple[Any, list[str]]) -> None:
    scores = detector.evaluate(trained[0], seed=1, count=4)
    assert all(0 <= share <= 1 for share in (scores.recall, scores.precision, scores.kinds_right))


def test_pairs_are_one_to_one() -> None:
    overlaps = np.array([[0.9, 0.6], [0.8, 0.55], [0.7, 0.7]], np.float32)
    assert detector._pairs(overlaps) == [(0, 0), (1, 1)]
    assert detector._pairs(np.zeros((2, 0), np.float32)) == []


def test_a_file_that_differs_is_refused(exported: tuple[Path, float]) -> None:
    other = network.Deployed(network.Network(TINY)).eval()
    with pytest.raises(ModelError, match="differs from its source by"):
        onnx_file.onnx_parity(other, [torch.rand(1, 3, 64, 64)], exported[0])
    with pytest.raises(ModelError, match="compared on no input"):
        onnx_file.onnx_parity(other, [], exported[0])


def test_a_free_batch_and_several_inputs(tmp_path: Path) -> None:
    class Two(torch.nn.Module):
        def forward(self, one: Any, other: Any) -> Any:
            return one + other, (one * other).sum(1)

    names = onnx_file.Names(("one", "other"), ("sum", "dot"))
    pairs = [tuple(torch.rand(2, count, 5)) for count in (2, 1, 7)]
    onnx_file.export_onnx(Two(), pairs[0], tmp_path / "two.onnx", names, dynamic_batch=True)
    assert onnx_file.onnx_parity(Two(), pairs, tmp_path / "two.onnx") < 1e-6
    session = Session(tmp_path / "two.onnx", DEVICE)
    assert session.inputs == {"one": (None, 5), "other": (None, 5)}
    assert session.outputs == {"sum": (None, 5), "dot": (None,)}


def test_what_onnx_cannot_say_is_one_sentence(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, rows: Any) -> Any:
            return torch.linalg.eigvals(rows)

    with pytest.raises(ModelError, match=r"odd\.onnx cannot be exported"):
        onnx_file.export_onnx(
            Odd(), torch.rand(3, 3), tmp_path / "odd.onnx", onnx_file.Names(("in",), ("out",)), False
        )
