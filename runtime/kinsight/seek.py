"""What a detector is to look for that is told it in vectors: its labels, and the categories in the store."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kinsight.detect import Detector
from kinsight.embed import Embedder
from kinsight.errors import ModelError
from kinsight.store import Store
from kinsight.types import ClassVectors

_MOST = 100
"""Categories beyond the labels: each costs a little time in every photo."""


class Seeker:
    """Keeps a detector told of what the store holds; one whose classes are in its file stays as it is."""

    def __init__(self, detector: Detector, embedder: Callable[[], Embedder]) -> None:
        """`embedder` gives the one whose words the detector understands; it is asked only where needed."""
        self._plain = self._told = detector
        self._embedder = embedder
        self._generation: int | None = None
        self._categories: tuple[str, ...] = ()

    def detector(self, store: Store) -> Detector:
        """It looks for the labels of the bundle and for the categories that were taught up to now.

        ModelError where the bundle's words are no classes to this detector.
        """
        if self._plain.classes is None:
            return self._plain
        now = store.generation()
        if now != self._generation:
            categories = new_categories(store, self._plain.classes.labels)
            if categories != self._categories:
                self._told = self._plain.looking_for(self._with(self._plain.classes, categories))
            self._generation, self._categories = now, categories
        return self._told

    def _with(self, classes: ClassVectors, categories: tuple[str, ...]) -> ClassVectors:
        if not categories:
            return classes
        words = self._embedder().texts(categories)
        if words.shape[1] != classes.vectors.shape[1]:
            raise ModelError(
                f"this detector takes classes as vectors of {classes.vectors.shape[1]} numbers, "
                f"and the bundle's words are vectors of {words.shape[1]}",
                "put the embedder into the bundle whose words it was trained with",
            )
        return ClassVectors((*classes.labels, *categories), np.concatenate([classes.vectors, words]))


def new_categories(store: Store, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The categories in the store that are no label, in the order in which they were taught, at most 100."""
    known = {label.casefold() for label in labels}
    taught = dict.fromkeys(" ".join(category.split()).casefold() for _, _, category in store.labels())
    return tuple(category for category in taught if category and category not in known)[:_MOST]
