"""llama.cpp's two ctypes modules: imported late, silenced, with the last error kept for our own messages."""

from __future__ import annotations

import os
import re
from collections import deque
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from kinsight.errors import MissingPackage, ModelError

PACKAGE = "llama-cpp-python==0.3.36"
MEND_FILE = "restore the bundle, or make the GGUF file again"
_GGML_LOG_LEVEL_ERROR = 4
_FUNCTION_PREFIX = re.compile(r"^\w+:\s*")


class Library(NamedTuple):
    """The modules, the errors that they logged last and the callback, which must live as long as they do."""

    llama: Any  # llama_cpp.llama_cpp
    mtmd: Any  # llama_cpp.mtmd_cpp
    errors: deque[str]
    log: Any


@lru_cache(maxsize=1)
def library() -> Library:
    """llama.cpp, loaded once. Raises MissingPackage where it is not installed or does not load."""
    try:
        from llama_cpp import llama_cpp, mtmd_cpp
    except ImportError as error:
        raise _missing() from error
    except (RuntimeError, OSError, AttributeError) as error:
        mend = f"pip install --force-reinstall '{PACKAGE}'"
        raise MissingPackage(f"llama-cpp-python does not load ({error})", mend) from error
    errors: deque[str] = deque(maxlen=20)

    def remember(level: int, text: bytes | None, _: object) -> None:
        if level == _GGML_LOG_LEVEL_ERROR and text:
            errors.append(text.decode("utf-8", "replace"))

    log = llama_cpp.llama_log_callback(remember)
    llama_cpp.llama_log_set(log, None)
    mtmd_cpp.mtmd_helper_log_set(log, None)
    llama_cpp.llama_backend_init()
    return Library(llama_cpp, mtmd_cpp, errors, log)


def check_installed() -> None:
    """Raises MissingPackage where llama-cpp-python is not installed; loads nothing."""
    try:
        found = find_spec("llama_cpp")
    except ImportError:
        found = None
    if found is None:
        raise _missing()


def _missing() -> MissingPackage:
    return MissingPackage("llama-cpp-python is not installed", f"pip install '{PACKAGE}'")


def failure(problem: str, mend: str) -> ModelError:
    """A ModelError that ends in the first thing that llama.cpp complained about since the last one."""
    errors = library().errors
    reasons = [text for line in errors if (text := _FUNCTION_PREFIX.sub("", line).strip())]
    errors.clear()
    return ModelError(f"{problem} ({reasons[0][:300]})" if reasons else problem, mend)


def physical_cores() -> int:
    """Cores that this process may use, hyperthreads counted once where the system tells them apart."""
    try:
        usable = os.sched_getaffinity(0)
        siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
        return len({Path(siblings.format(cpu)).read_text() for cpu in usable})
    except (AttributeError, OSError):
        return os.cpu_count() or 1
