"""Reads what the store knows into arrays for recall; many vectors come from a file that is made once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from kinsight.errors import StoreError
from kinsight.evidence import Memory
from kinsight.index import Entries, Index, IndexFile
from kinsight.store import Store

FILE_FROM = 20_000
"""Views from which on the file pays (`kinsight bench recall`)."""


def read_memory(
    store: Store,
    embedder_id: str,
    folder: Path | None,
    file_from: int | None = None,
    faces_id: str | None = None,
) -> tuple[int, Memory] | None:
    """(generation, what this embedder made of the store); None where another process wrote meanwhile.

    The store is the truth: the index file in `folder` is read only where the store holds its checksum and has
    not changed since, and made anew otherwise. None as folder: nothing plain may lie on the disk. From
    `file_from` views on there is a file, None: from FILE_FROM. `faces_id` is of the recogniser of faces, None
    where there is none.
    """
    file = IndexFile(folder, embedder_id) if folder is not None else None
    generation, labels = store.generation(), store.labels()
    entries = _from_file(store, file, generation) if file else None
    if entries is None:
        stored = store.vectors(embedder_id)
        if stored.generation != generation:
            return None
        entries = Entries(
            *(stored.view_ids, stored.view_concepts, stored.views),
            *(stored.negative_ids, stored.negative_concepts, stored.negatives),
        )
        if file:
            _keep(store, file, entries, generation, FILE_FROM if file_from is None else file_from)
    seen = store.vectors(faces_id) if faces_id else None
    if store.generation() != generation:
        return None
    return generation, Memory(
        names={concept_id: name for concept_id, name, _ in labels},
        categories={concept_id: category for concept_id, _, category in labels},
        view_ids=entries.view_ids,
        view_concepts=entries.view_concepts,
        views=Index(entries.views, np.arange(len(entries.view_ids), dtype=np.int64)),
        negative_concepts=entries.negative_concepts,
        negatives=entries.negatives,
        negative_ids=entries.negative_ids,
        face_concepts=seen.view_concepts if seen else np.zeros(0, np.int64),
        faces=seen.views if seen else np.zeros((0, 0), np.float32),
        negative_face_concepts=seen.negative_concepts if seen else np.zeros(0, np.int64),
        negative_faces=seen.negatives if seen else np.zeros((0, 0), np.float32),
        negative_face_ids=seen.negative_ids if seen else np.zeros(0, np.int64),
    )


def _from_file(store: Store, file: IndexFile, generation: int) -> Entries | None:
    seal = store.index_seal(file.embedder_id)
    return file.read(seal, generation) if seal else None


def _keep(store: Store, file: IndexFile, entries: Entries, generation: int, file_from: int) -> None:
    """Writes the file and its checksum into the store; without either the next process reads as before."""
    if len(entries.view_ids) < file_from:
        file.remove()
        return
    sha256 = file.write(entries, generation)
    if sha256:
        with suppress(StoreError):
            store.seal_index(file.embedder_id, generation, sha256)
