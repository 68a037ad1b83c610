"""The weights in a GGUF file, looked at without running them: what is dead, and what is not a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_LEAST = 16  # numbers of a weight that may not all be zero


def damaged_tensor(file: Path) -> str:
    """The first weight that is all zeros or holds what is no number, in words; "" where there is none."""
    from gguf import GGUFReader

    for tensor in GGUFReader(file).tensors:
        if tensor.n_elements < _LEAST or len([side for side in tensor.shape if side > 1]) < 2:
            continue
        if not tensor.data.any():
            return f"{tensor.name} in {file.name} holds nothing but zeros"
        if tensor.data.dtype.kind == "f" and not np.isfinite(tensor.data).all():
            return f"{tensor.name} in {file.name} holds what is no number"
    return ""
