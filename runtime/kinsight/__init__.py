"""kinsight knows your people, pets and things, on your own machine: `Assistant.open()` is the door."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinsight.assistant import Assistant, Choices, Lesson

# Nothing leaves the machine: official builds of ONNX Runtime report to Microsoft unless this is set before
# their import (Privacy.md in its wheel).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
__all__ = ["Assistant", "Choices", "Lesson", "__version__"]


def __getattr__(name: str) -> object:
    """Loads the assistant at first use, so that the import stays light."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kinsight import assistant

    return getattr(assistant, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
