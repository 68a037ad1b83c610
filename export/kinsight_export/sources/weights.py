"""A checkpoint's weights, all of them and no others: what transformers would make up is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kinsight.errors import ModelError
from kinsight_export.room import or_room

_COUNTERS = ("num_batches_tracked", "position_ids")  # numbers that no answer depends on, or no weights
_OF_A_LAYER = re.compile(r"\.(layers?|blocks?)\.\d+\.")
_AGAIN = "get the checkpoint again"


def load_whole(folder: Path, load: Callable[..., Any]) -> Any:
    """What `load`, a `from_pretrained`, makes of a folder, ready to run.

    ModelError where it does not load, where weights are missing, which transformers fills with random ones,
    and where there are layers for which its config has no place, which transformers drops.
    """
    from safetensors import SafetensorError

    try:
        model, said = load(str(folder), local_files_only=True, output_loading_info=True)
    except (
        *(OSError, ValueError, KeyError, RuntimeError, ImportError),
        *(
            TypeError,
            AttributeError,
            ArithmeticError,
            SafetensorError,
        ),  # of a config or a file that is damaged
    ) as error:
        raise ModelError(f"{folder} cannot be loaded ({_short(error)})", or_room(error, _AGAIN)) from None
    if missing := [name for name in said["missing_keys"] if not name.endswith(_COUNTERS)]:
        raise ModelError(f"{folder} lacks weights, {_some(missing)}", _AGAIN)
    if left := [name for name in said["unexpected_keys"] if _OF_A_LAYER.search(name)]:
        raise ModelError(f"{folder} has layers that its config.json does not know, {_some(left)}", _AGAIN)
    return model.eval()


def _some(names: Iterable[str]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
