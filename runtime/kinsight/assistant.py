"""The assistant: remember, look, ask, caption, chat and album, over one store, one bundle and one device."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kinsight.bundle import Bundle, find_bundle, pocket_folder, read_bundle, read_cohort, verify_bundle
from kinsight.closing import Closing
from kinsight.config import DeviceConfig, load_device
from kinsight.errors import BundleError, MissingPackage, ModelError
from kinsight.evidence import Memory
from kinsight.home import Home, open_home
from kinsight.image import FaceModels, decode, load
from kinsight.memory import read_memory
from kinsight.recall import Rules, recall
from kinsight.store import Forgotten, KeySource, Store, Vectors
from kinsight.types import Answer, Box, Concept, Eyed, Floats, Photo, Pixels, Regions, Scene

if TYPE_CHECKING:
    from kinsight.advice import Telling
    from kinsight.album import Album
    from kinsight.album.eyes import Recognised
    from kinsight.chat import Chat
    from kinsight.detect import Detector
    from kinsight.embed import Embedder
    from kinsight.llm import Llm, WorkerLlm
    from kinsight.seek import Seeker

_SCENES_KEPT = 8
_PICTURES_KEPT = 16


@dataclass(frozen=True)
class Lesson:
    """What the user says about a concept when they teach it."""

    name: str
    category: str = ""
    info: str = ""
    another_view: bool = False  # of a concept that is known already


@dataclass(frozen=True)
class Choices:
    """Where everything comes from; None is decided automatically, with the reason in `Assistant.reasons`."""

    home: Path | None = None
    bundle: str | None = None
    device: str | None = None
    key: KeySource | None = None  # of an encrypted store; None: $KINSIGHT_KEY_FILE names it
    worker: bool = False  # the language model runs in a process of its own


class Assistant(Closing):
    """Knows what the store knows and sees with the bundle's models; these load at first use."""

    def __init__(
        self,
        home: Home,
        bundle: Bundle,
        device: DeviceConfig,
        reasons: Sequence[str] = (),
        key: KeySource | None = None,
        worker: bool = False,
    ) -> None:
        """`worker` puts the language model into a process of its own.

        Raises StoreError where the store cannot be opened, VaultError where its key does not fit.
        """
        self.home, self.bundle, self.device = home, bundle, device
        self.reasons = tuple(reasons)
        self.store = Store.open(home.store, key=key)
        if self.store.encrypted:
            home.drop_caches()
        self._eyed: OrderedDict[tuple[str, tuple[str, ...]], Eyed] = OrderedDict()  # (photo, what was sought)
        self._memory: tuple[int, Memory] | None = None
        self._pictures: OrderedDict[int, Pixels] = OrderedDict()  # of views, by their ids
        self._worker = worker

    @staticmethod
    def open(choices: Choices = Choices()) -> Assistant:
        """Opens home, device config and bundle, and checks the bundle's files against their stamp."""
        home = open_home(choices.home)
        device = load_device(choices.device, home.cache)
        folder, reason = find_bundle(choices.bundle, device.bundle, home.bundles, pocket_folder())
        bundle = read_bundle(folder)
        verify_bundle(bundle, home.cache)
        reasons = f"bundle {bundle.name}: {reason}", f"device {device.name}: {device.reason}"
        return Assistant(home, bundle, device, reasons, choices.key, choices.worker)

    def close(self) -> None:
        """Frees the models and the store."""
        if "llm" in self.__dict__:
            self.llm.close()
        self.store.close()

    @property
    def detector(self) -> Detector:
        """The bundle's detector, loaded at first use; where it can be told, it looks for what was taught."""
        return self._seeker.detector(self.store)

    @cached_property
    def _seeker(self) -> Seeker:
        from kinsight.detect import Detector
        from kinsight.seek import Seeker

        if "llm" in self.__dict__:  # loaded anew at the next question: only then its budget counts what sees
            self.__dict__.pop("llm").close()
        return Seeker(Detector(self.bundle.detector, self.device), lambda: self.embedder)

    @cached_property
    def embedder(self) -> Embedder:
        """The bundle's embedder, loaded at first use."""
        from kinsight.embed import Embedder

        return Embedder(self.bundle.embedder, self.device)

    @cached_property
    def face_models(self) -> FaceModels:
        """The bundle's models for faces, loaded at first use; ModelError where it has none."""
        from kinsight.faces import load_faces

        if self.bundle.faces is None:
            raise ModelError(f"the bundle {self.bundle.name} sees no faces", "use another bundle for that")
        return load_faces(self.bundle.faces)

    @cached_property
    def llm(self) -> Llm | WorkerLlm:
        """The bundle's language model, loaded after what sees; MissingPackage without llama-cpp-python.

        The first look after it closes it, so that its memory is counted anew: take it from here every time.
        """
        from kinsight.llm import WorkerLlm, load_llm

        load = WorkerLlm if self._worker else load_llm
        part = self.bundle.language_model
        return load(part, self.device, None if self.store.encrypted else self.home.readings)

    @cached_property
    def rules(self) -> Rules:
        """When to name. Raises BundleError where the bundle was never calibrated."""
        calibration = self.bundle.embedder.calibration
        if calibration is None:
            raise BundleError(
                f"the bundle {self.bundle.name} has no calibration, so nobody can be recognised",
                f"run `kinsight-export calibrate {self.bundle.folder} PHOTOS` with a folder per identity",
            )
        vocabulary = frozenset(label.casefold() for label in self.bundle.detector.labels)
        faces = self.bundle.faces.calibration if self.bundle.faces else None
        return Rules(calibration, vocabulary, read_cohort(self.bundle.embedder), faces)

    def see(self, photo: Photo) -> Eyed:
        """Detects and embeds; the last few photos are remembered by their hash."""
        from kinsight.embed import embed_scene

        detector, embedder = self.detector, self.embedder
        key = photo.sha256, detector.part.labels
        if key in self._eyed:
            self._eyed.move_to_end(key)
            return self._eyed[key]
        started = time.perf_counter()
        regions = detector.detect(photo.pixels)
        detected = time.perf_counter()
        vectors = embed_scene(photo, regions, embedder)
        embedded = time.perf_counter()
        timings = {"detect": 1e3 * (detected - started), "embed": 1e3 * (embedded - detected)}
        faces = self.faces_in(photo, regions)
        if faces is not None:
            timings["faces"] = 1e3 * (time.perf_counter() - embedded)
        self._eyed[key] = Eyed(regions, vectors, timings, faces)
        if len(self._eyed) > _SCENES_KEPT:
            self._eyed.popitem(last=False)
        return self._eyed[key]

    def look(self, photo: Photo | str | Path) -> Scene:
        """Recognises who and what is in a photo."""
        photo = open_photo(photo)
        eyed, _ = self.see(photo), self.rules  # a bundle without rules is told before anything is timed
        started = time.perf_counter()
        matches, whole_photo = self.recognise(eyed.regions, eyed.vectors, eyed.faces)
        timings = {
            "decode": photo.decode_ms,
            **eyed.timings_ms,
            "recall": 1e3 * (time.perf_counter() - started),
        }
        return Scene(photo, self.bundle.name, eyed.regions, eyed.vectors, matches, whole_photo, timings)

    def memory(self) -> Memory:
        """What the store knows, ready for recall; read again only when the store has changed."""
        from kinsight.faces import catch_up_faces, unlooked
        from kinsight.teach import catch_up

        while self._memory is None or self._memory[0] != self.store.generation():
            if self.store.views_without_vector(self.bundle.embedder.id):
                catch_up(self.store, self.embedder)
            folder = None if self.store.encrypted else self.home.index
            faces = self.bundle.faces
            if faces and unlooked(self.store, faces):
                catch_up_faces(self.store, faces, self.face_models)
            faces_id = faces.id if faces else None
            self._memory = read_memory(self.store, self.bundle.embedder.id, folder, faces_id=faces_id)
        return self._memory[1]

    @cached_property
    def album(self) -> Album:
        """The photos that were looked at on purpose: add, find, and the inbox of things without a name."""
        from kinsight.album import Album

        return Album(self.store, self)

    def faces_in(self, photo: Photo, regions: Regions) -> Floats | None:
        """The faces in n regions and the whole photo, as in recall; None where the bundle sees none."""
        from kinsight.faces import face_vectors

        part = self.bundle.faces
        return face_vectors(photo, regions, self.face_models, part.dim) if part else None

    def recognise(self, regions: Regions, vectors: Floats, faces: Floats | None = None) -> Recognised:
        """Who is who: n regions, float32 (n + 1, dim) of these and the whole photo; `faces` as in recall."""
        return recall(regions, vectors, self.memory(), self.rules, faces)

    def views(self) -> Vectors:
        """What the concepts look like to this bundle's embedder, every view included."""
        self.memory()
        return self.store.vectors(self.bundle.embedder.id)

    def remember(
        self, photo: Photo | str | Path, lesson: Lesson, box: Box | None = None, region: int | None = None
    ) -> Concept:
        """Teaches a concept from one photo, or one more view of it.

        `box` in pixels or `region` as numbered by `look`; without either the only candidate is taken. Raises
        RegionError where there are several, DuplicateName where the name is taken.
        """
        from kinsight.teach import choose, new_view

        scene = self.look(photo)
        view = new_view(scene.photo, choose(scene, lesson.category, box, region), self.embedder)
        if lesson.another_view:
            return self.store.add_view(lesson.name, view)
        return self.store.remember(view, lesson.name, lesson.category, lesson.info)

    def refuse(self, photo: Photo | str | Path, name: str, region: int | None = None) -> tuple[Concept, str]:
        """Learns that a region is not this concept; gives the concept and the region in words.

        `region` as numbered by `look`, 0: the whole photo; without it the one that was taken for the concept.
        Raises UnknownConcept, or RegionError where no region was taken for it or there is no such number.
        """
        from kinsight.faces import with_face
        from kinsight.teach import describe, new_view, numbered, taken_for

        scene = self.look(photo)
        number = taken_for(scene, self.store.concept(name)) if region is None else region
        view = new_view(scene.photo, numbered(scene, number), self.embedder)
        view = with_face(view, (self.see(scene.photo).faces, number - 1), self.bundle.faces)
        refused = describe(scene, number - 1) if number else "the whole photo"
        return self.store.add_negative(name, view), refused

    def forget(self, name: str) -> Forgotten:
        """Deletes a concept for good, with all that was made of it.

        Raises as `Store.forget` does, and HomeError where a cache cannot be removed.
        """
        concept = self.store.concept(name)
        self.home.drop_caches()
        forgotten = self.store.forget(concept.name)
        self.home.drop_caches()  # what another process made of it meanwhile
        self._eyed.clear()
        return forgotten

    def telling(self, concept: Concept) -> Telling:
        """How well a concept is told apart from all others that are known, and what would help."""
        from kinsight.advice import telling

        side = min(self.bundle.embedder.image.preprocess.size_wh)
        return telling(concept, self.store, self.memory(), self.rules, side)

    def ask(self, question: str, photo: Photo | str | Path | None = None) -> Answer:
        """Answers a question about a photo, or from what was told where there is no photo."""
        return self.chat(photo).ask(question)

    def stream(self, question: str, photo: Photo | str | Path | None = None) -> Iterator[str]:
        """The words of `ask` as they come."""
        return self.chat(photo).stream(question)

    def caption(self, photo: Photo | str | Path) -> Answer:
        """Describes a photo, with the names of those in it."""
        return self.chat(photo).caption()

    def chat(self, photo: Photo | str | Path | None = None) -> Chat:
        """A conversation, about one photo or about none; raises as `check_llm` where there is a photo."""
        from kinsight.chat import Chat

        if photo is not None and self.bundle.llm:
            self.check_llm(photo)
        return Chat(self, self.look(photo) if photo is not None else None)

    def check_llm(self, photo: Photo | str | Path | None = None) -> None:
        """Raises what answering would for want of a language model or memory, before anything is loaded."""
        from kinsight.foresight import ahead
        from kinsight.llm import check_llm

        if "llm" not in self.__dict__:
            part = self.bundle.language_model
            check_llm(part, self.device, ahead(self.bundle, photo, self.__dict__, self._worker))

    def reference_picture(self, concept: Concept) -> Pixels | None:
        """The first view of a concept, uint8 (h, w, 3) RGB; None where it has none."""
        if not concept.views:
            return None
        view = concept.views[0].id
        if view not in self._pictures:
            self._pictures[view] = decode(self.store.view_picture(view), concept.name).pixels
            if len(self._pictures) > _PICTURES_KEPT:
                self._pictures.popitem(last=False)
        return self._pictures[view]

    def prepare(self, concept: Concept) -> int:
        """Encodes the picture by which the language model will know a concept; gives how many it took.

        So that no question waits for it: 0 where it was known, where the model sees no references or is not
        there, and where an encrypted store leaves no place to keep it for the next process.
        """
        from kinsight.llm import Picture

        part = self.bundle.llm
        picture = self.reference_picture(concept)
        unkept = self.store.encrypted and "llm" not in self.__dict__
        if unkept or part is None or part.sees != "photo+references" or picture is None:
            return 0
        try:
            return self.llm.prepare([Picture(picture)])
        except (ModelError, MissingPackage):
            return 0  # whoever asks is told


def open_photo(photo: Photo | str | Path) -> Photo:
    """A photo from its path; one that is decoded already is given back."""
    return photo if isinstance(photo, Photo) else load(photo)
