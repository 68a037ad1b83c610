"""Loose parts of a bundle, made by hand: small real ONNX graphs, a GGUF head, labels, a bundle.toml."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GGUF = b"GGUF" + (3).to_bytes(4, "little") + bytes(16)  # version 3, no tensors, no keys

# The example of the design, every key of it.
BUNDLE_TOML = """
[bundle]
format = 1
name = "made-by-hand"
version = "1"
world = "drawn"
licence = "Apache-2.0"
[detector]
file = "detector.onnx"
sha256 = "<detector.onnx>"
head = "yolox"
size_wh = [416, 320]
colour = "bgr"
scale = 1.0
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
resize = "letterbox"
anchor = "top-left"
pad = 114
labels = "labels.txt"
score_threshold = 0.1
iou_threshold = 0.5
[embedder]
id = "hand-1"
dim = 4
[embedder.image]
file = "image.onnx"
sha256 = "<image.onnx>"
size_wh = [96, 96]
colour = "rgb"
scale = 0.00392156862745098
mean = [0.48145466, 0.4578275, 0.40821073]
std = [0.26862954, 0.26130258, 0.27577711]
resize = "stretch"
[embedder.text]
file = "text.onnx"
sha256 = "<text.onnx>"
tokenizer = "tokenizer.json"
context = 77
[embedder.calibration]
curve = [[0.2, 0.01], [0.5, 0.5], [0.8, 0.99]]
accept_probability = 0.9
unsure_probability = 0.5
margin = 0.05
fitted_on = "drawn world, 400 identities, seed 7"
gains = [0.05, 0.07]
[llm]
file = "llm.gguf"
sha256 = "<llm.gguf>"
mmproj = "mmproj.gguf"
mmproj_sha256 = "<mmproj.gguf>"
sees = "photo+references"
context = 2048
max_references = 3
image_max_tokens = 64
stop = ["<end_of_turn>"]
smoke = "A photo of one named thing; the answer must contain the name."
[parity]
detector_max_error = 1e-4
"""


def tensor(name: str, values: list[float]) -> onnx.TensorProto:
    """float32 (n,)."""
    return numpy_helper.from_array(np.array(values, np.float32), name)


def model(nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto]) -> onnx.ModelProto:
    """x (4,) -> y (4,), both float32."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    return helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers))


def scaled(factor: float) -> onnx.ModelProto:
    """y = factor * x."""
    return model([helper.make_node("Mul", ["x", "w"], ["y"])], [tensor("w", [factor] * 4)])


def make_parts(folder: Path) -> Path:
    """The files without bundle.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("detector", "image", "text")):
        onnx.save(scaled(number + 1), folder / f"{name}.onnx")
    for name in ("llm", "mmproj"):
        (folder / f"{name}.gguf").write_bytes(GGUF + name.encode())
    (folder / "labels.txt").write_text("dog\ncoffee cup\n", encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return folder


def make_bundle(folder: Path, toml: str = BUNDLE_TOML) -> Path:
    """A bundle of these parts; <FILE> in the text becomes the sha256 of that file."""
    for file in make_parts(folder).iterdir():
        toml = toml.replace(f"<{file.name}>", hashlib.sha256(file.read_bytes()).hexdigest())
    (folder / "bundle.toml").write_text(toml, encoding="utf-8")
    return folder
