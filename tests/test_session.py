"""ONNX Runtime sessions: provider choice with its reason, running, and one sentence for every broken file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from kinsight.config import DeviceConfig, device_names, load_device
from kinsight.errors import ModelError
from kinsight.session import CPU, Session, choose_providers
from tiny import DIM, VIEW_SIDE, make_image_tower
from tiny_detector import save_model


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    return make_image_tower(tmp_path / "image.onnx")


def test_the_wanted_providers_that_are_there_are_chosen_and_the_cpu_comes_last() -> None:
    assert choose_providers([CPU]) == ([CPU], f"{CPU}: as the device config asks, the CPU last")


def test_a_missing_provider_is_left_out_and_named_in_the_reason() -> None:
    chosen, reason = choose_providers(["NoSuchExecutionProvider", CPU])
    assert chosen == [CPU]
    assert reason.startswith(
        f"{CPU}: as the device config asks, the CPU last; not in this ONNX Runtime: NoSuch"
    )


def test_the_cpu_is_there_even_where_the_config_forgets_it() -> None:
    assert choose_providers(["NoSuchExecutionProvider"])[0] == [CPU]


def test_a_session_says_why_it_runs_where_it_runs(tower: Path, device: DeviceConfig) -> None:
    session = Session(tower, replace(device, providers=("NoSuchExecutionProvider", CPU), threads=1))
    assert "NoSuchExecutionProvider" in session.reason


@pytest.mark.parametrize("name", device_names())
def test_every_device_config_that_ships_runs_here_and_says_what_it_falls_back_on(
    name: str, tower: Path
) -> None:
    device = replace(load_device(name), threads=1)
    session = Session(tower, device)
    there = onnxruntime.get_available_providers()
    for provider in device.providers:
        assert provider in session.reason
        if provider not in there:
            assert provider in session.reason.partition("not in this ONNX Runtime: ")[2]
    assert session.run({"pixel_values": np.zeros((1, 3, VIEW_SIDE, VIEW_SIDE), np.float32)})


def test_a_provider_that_cannot_be_started_leaves_the_cpu(
    tower: Path, device: DeviceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that is missing, or an option of another version: ONNX Runtime raises, here in its stead."""
    real = onnxruntime.InferenceSession

    def start(
        path: str, options: object, providers: list[str], provider_options: list[dict[str, str]]
    ) -> object:
        if provider_options[0] == {"no_such": "option"}:
            raise RuntimeError("Unknown option: no_such")
        return real(path, options, providers=providers, provider_options=provider_options)

    monkeypatch.setattr("onnxruntime.InferenceSession", start)
    azure = "AzureExecutionProvider"
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [azure, CPU])
    odd = replace(device, providers=(azure,), provider_options={azure: {"no_such": "option"}})
    session = Session(tower, odd)
    assert session.run({"pixel_values": np.zeros((1, 3, VIEW_SIDE, VIEW_SIDE), np.float32)})
    refused = "on the CPU alone, as the others refused image.onnx (Unknown option: no_such)"
    assert refused in session.reason
    tower.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"image\.onnx cannot be loaded"):
        Session(tower, odd)


def test_a_session_knows_its_shapes_with_none_for_a_free_axis(tower: Path, device: DeviceConfig) -> None:
    session = Session(tower, device)
    assert session.inputs == {"pixel_values": (None, 3, VIEW_SIDE, VIEW_SIDE)}
    assert session.outputs == {"image_embeds": (None, DIM)}


def test_a_session_runs_a_batch(tower: Path, device: DeviceConfig) -> None:
    batch = np.random.default_rng(0).random((3, 3, VIEW_SIDE, VIEW_SIDE), np.float32)
    together = Session(tower, device).run({"pixel_values": batch})["image_embeds"]
    alone = Session(tower, device).run({"pixel_values": batch[1:2]})["image_embeds"]
    assert together.shape == (3, DIM)
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [b"", b"not a model\nat all", b"\x08\x08\x12\x00", bytes(1000)],
    ids=["empty", "text", "cut", "zeros"],
)
def test_a_file_that_is_no_model_is_one_sentence(data: bytes, tmp_path: Path, device: DeviceConfig) -> None:
    file = tmp_path / "detector.onnx"
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"detector\.onnx cannot be loaded") as caught:
        Session(file, device)
    assert "\n" not in str(caught.value)
    assert "kinsight-export" in caught.value.mend


def test_a_model_that_is_cut_short_is_one_sentence(tower: Path, device: DeviceConfig) -> None:
    tower.write_bytes(tower.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"image\.onnx cannot be loaded"):
        Session(tower, device)


def test_a_missing_file_is_one_sentence(tmp_path: Path, device: DeviceConfig) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx cannot be loaded"):
        Session(tmp_path / "gone.onnx", device)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("pixel_values", (1, 3, 7, 7), np.float32),
        ("pixel_values", (1, 3, VIEW_SIDE, VIEW_SIDE), np.float64),
        ("pictures", (1, 3, VIEW_SIDE, VIEW_SIDE), np.float32),
    ],
    ids=["shape", "dtype", "name"],
)
def test_feeds_that_do_not_fit_are_one_sentence(
    name: str, shape: tuple[int, ...], dtype: type, tower: Path, device: DeviceConfig
) -> None:
    with pytest.raises(ModelError, match=r"image\.onnx failed"):
        Session(tower, device).run({name: np.zeros(shape, dtype)})


def test_memory_that_runs_out_is_said_with_its_mend(tmp_path: Path, device: DeviceConfig) -> None:
    text = "g (float[1] x) => (float[n] y) { y = Expand (x, shape) }"
    session = Session(save_model(tmp_path / "greedy.onnx", text, {"shape": [1 << 45]}), device)
    with pytest.raises(ModelError, match=r"greedy.onnx failed \(.*\): memory is short: close other programs"):
        session.run({"x": np.ones(1, np.float32)})
