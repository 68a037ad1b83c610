"""What holds memory, a file or a process until it is closed: `with` closes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

_One = TypeVar("_One", bound="Closing")


class Closing(ABC):
    """A context manager that closes itself at the end, whatever happened."""

    @abstractmethod
    def close(self) -> None:
        """Gives back what it holds."""

    def __enter__(self: _One) -> _One:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
