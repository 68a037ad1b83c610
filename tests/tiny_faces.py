"""Makes a tiny real pair for faces, of the shapes of YuNet and SFace: a face is a magenta square."""

from __future__ import annotations

from pathlib import Path

from tiny_detector import save_model

FACES = {"ann": (255, 0, 255), "eve": (255, 0, 120), "zoe": (120, 0, 255)}
"""RGB of the faces of three persons; SIDE pixels of one hold a whole cell wherever they lie."""
SIDE = 96
DIM = 128
_STRIDES = (8, 16, 32)


def make_face_detector(path: Path) -> Path:
    """BGR 0..255 (1, 3, h, w) -> what OpenCV reads of YuNet: a cell of 32 pixels that is full of a face."""
    outputs = ", ".join(
        f"float[1, n{name}{stride}, {size}] {name}_{stride}"
        for name, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride in _STRIDES
    )
    body = "magenta = Conv (input, colour)\n"
    for stride in _STRIDES:
        cell = f"kernel_shape = [{stride}, {stride}], strides = [{stride}, {stride}]"
        body += f"""
            mean{stride} = AveragePool <{cell}> (magenta)
            over{stride} = Sub (mean{stride}, least)
            part{stride} = Mul (over{stride}, steep{stride})
            score{stride} = Clip (part{stride}, zero, one)
            cls_{stride} = Reshape (score{stride}, column)
            obj_{stride} = Identity (cls_{stride})
            none{stride} = Mul (cls_{stride}, zero)
            bbox_{stride} = Add (none{stride}, box)
            kps_{stride} = Add (none{stride}, landmarks)
        """
    steep = {f"steep{stride}": 0.0 if stride < 32 else 0.04 for stride in _STRIDES}
    constants = {
        "colour": [[[[0.5]], [[-1.0]], [[0.5]]]],
        "least": 150.0,
        "zero": 0.0,
        "one": 1.0,
        "column": [1, -1, 1],
        "box": [[[0.5, 0.5, 0.0, 0.0]]],
        "landmarks": [[[0.3, 0.35, 0.7, 0.35, 0.5, 0.55, 0.35, 0.75, 0.65, 0.75]]],
        **steep,
    }
    return save_model(path, f"yunet (float[1, 3, h, w] input) => ({outputs}) {{{body}}}", constants)


def make_face_recogniser(path: Path) -> Path:
    """RGB 0..255 (1, 3, 112, 112) -> 128 numbers that follow from the mean colour."""
    body = """
        mean = GlobalAveragePool (data)
        flat = Reshape (mean, row)
        part = Mul (flat, scale)
        centred = Sub (part, half)
        fc1 = MatMul (centred, spread)
    """
    spread = [[float(column % 3 == row) for column in range(DIM)] for row in range(3)]
    constants = {"row": [1, 3], "scale": 1 / 255, "half": 0.5, "spread": spread}
    text = f"sface (float[1, 3, 112, 112] data) => (float[1, {DIM}] fc1) {{{body}}}"
    return save_model(path, text, constants)
