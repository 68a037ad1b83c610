"""The album itself: add, list, remove, find, and the inbox of things without a name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinsight.album import inbox, sheet
from kinsight.album.adding import Added, Adder, Progress, is_seen
from kinsight.album.eyes import Eyes, recogniser_id
from kinsight.album.finding import Found, accepted, nearest, perhaps, with_names
from kinsight.album.inbox import Group
from kinsight.embed import embed_scene
from kinsight.errors import RegionError
from kinsight.store import AlbumPhoto, Naming, Shots, Store
from kinsight.store.showing import crops_shown
from kinsight.teach import candidates
from kinsight.types import Concept, Floats, Photo, Pixels


class Album:
    """The photos in the store, as the bundle of its owner sees them."""

    def __init__(self, store: Store, eyes: Eyes) -> None:
        self._store, self._eyes = store, eyes
        self._shots: Shots | None = None

    def add(self, paths: Sequence[Path], progress: Progress = lambda what, done, total: None) -> Added:
        """Look at the photos in these files and folders, and below, that this embedder has not seen yet.

        A photo is known by its content, so one that was moved or renamed is not looked at again. Photos are
        kept in batches, each in one transaction: whoever is stopped goes on where the last batch ended. What
        cannot be read never stops the run; it is told at the end. Raises BundleError where the bundle was
        never calibrated.
        """
        return Adder(self._store, self._eyes, progress).add(paths)

    def unseen(self) -> int:
        """Photos that another bundle saw: with this one they cannot be found, or not by their faces."""
        return sum(not is_seen(photo, self._eyes) for photo in self._store.album.photos())

    def find_text(self, text: str, limit: int) -> list[Found]:
        """The photos that fit these words best, or a thing in them; ModelError without a text tower."""
        query = self._eyes.embedder.texts([text])[0]
        return self._found(self.shots(), query, limit, ("regions", "whole"))

    def find_like(self, photo: Photo, region: int | None, limit: int) -> list[Found]:
        """The photos that hold what is most like this photo, or like one region of it.

        `region` as `look` numbers it, 0: the whole photo; None: the thing that stands out, else the whole
        photo. The photo itself is left out. RegionError where there is no such region.
        """
        regions = self._eyes.detector.detect(photo.pixels)
        if region is None:
            rows = candidates(photo, regions)
            region = rows[0] + 1 if len(rows) == 1 else 0
        if not 0 <= region <= len(regions):
            raise RegionError(f"there is no region {region} in this photo", f"choose of 0 to {len(regions)}")
        query = embed_scene(photo, regions, self._eyes.embedder)[region - 1]
        found = self._found(self.shots(), query, limit + 1, ("regions",) if region else ("whole",))
        return [other for other in found if other.photo.sha256 != photo.sha256][:limit]

    def find_names(self, names: Sequence[str], limit: int) -> list[Found]:
        """The photos in which everybody of these names or aliases is recognised, the surest first.

        Recall decides on what is stored, so a concept is found in photos that are older than its name. Raises
        UnknownConcept where there is nobody of a name.
        """
        concept_ids = list(dict.fromkeys(self._store.concept(name).id for name in names))
        found = with_names(self.shots(), concept_ids, self._eyes)
        return sorted(found, key=lambda one: -one.score)[:limit]

    def perhaps(self, name: str, limit: int) -> list[tuple[Found, int]]:
        """Photos in which somebody is only a maybe, and the number of the region, as `look` has it.

        Whoever confirms one of them teaches most; the likeliest come first. What is a view already is left
        out. Raises UnknownConcept.
        """
        concept, shots = self._store.concept(name), self.shots()
        found = []
        for photo, row, match in perhaps(shots, concept.id, self._eyes):
            box = shots.regions.box(shots.rows(photo)[row])
            if not crops_shown(concept.views, shots.photos[photo].sha256, box):
                found.append((Found(shots.photos[photo], match.probability, (), (box,)), row + 1))
        return found[:limit]

    def groups(self) -> list[Group]:
        """The inbox: things that recur in photos and have no name, largest group first."""
        return inbox.unnamed_groups(self.shots(), self._eyes)

    def group(self, group_id: str) -> Group:
        """One group of the inbox; ConfigError where there is none of this id."""
        return inbox.find_group(self.groups(), group_id)

    def name(self, group_id: str, naming: Naming, only: Sequence[int] = ()) -> Concept:
        """Teach a concept from a group, or from its members with these numbers (from 1); undo takes it back.

        `naming` says what it is called; views and negatives are filled in here: the most typical members and
        those that cover the rest. The members that are left out are kept as "this is not it". Raises
        ConfigError where there is no such group or number, PhotoError where the photos are gone.
        """
        group = self.group(group_id)
        mine, others = inbox.chosen(group, only)
        shots = self.shots()
        views = (inbox.exact_views if others else inbox.views_of)(shots, mine, self._eyes)
        negatives = inbox.exact_views(shots, others, self._eyes)
        return self._store.album.name(
            Naming(naming.name, views, negatives, naming.category, naming.info, naming.known)
        )

    def drop(self, group_id: str) -> Group:
        """Ask no more about a group; undo takes it back. ConfigError where there is no such group."""
        group = self.group(group_id)
        spots = [(member.photo.sha256, member.xyxy) for member in group.members]
        self._store.album.hide(spots, f"hid the group {group.id} of {len(spots)} x {group.label}")
        return group

    def sheet(self, found: Sequence[Found]) -> Pixels:
        """What was found as one picture, made of the thumbnails; ConfigError where nothing was found."""
        return sheet.found_sheet(found, self._thumbnails([one.photo for one in found]))

    def group_sheet(self, group: Group) -> Pixels:
        """The members of a group as one picture, with their numbers; cut from the photos if still there."""
        return sheet.members_sheet(group, self._thumbnails([member.photo for member in group.members]))

    def groups_sheet(self, groups: Sequence[Group]) -> Pixels:
        """One row of members for every group; ConfigError where the inbox is empty."""
        thumbnails = [self._thumbnails([m.photo for m in group.members[: sheet.EACH]]) for group in groups]
        return sheet.groups_sheet(groups, thumbnails)

    def shots(self) -> Shots:
        """Everything that this embedder saw; read again only when the store has changed."""
        if self._shots is None or self._shots.generation != self._store.album.generation():
            self._shots = self._store.album.shots(self._embedder_id, recogniser_id(self._eyes))
        return self._shots

    @property
    def _embedder_id(self) -> str:
        return self._eyes.embedder.part.id

    def _found(self, shots: Shots, query: Floats, limit: int, of: tuple[str, ...]) -> list[Found]:
        return [
            Found(
                shots.photos[photo],
                score,
                tuple(match.concept for match, _ in accepted(shots, photo, self._eyes).values()),
                (box,),
            )
            for photo, score, box in nearest(shots, query, limit, of)
        ]

    def _thumbnails(self, photos: Sequence[AlbumPhoto]) -> list[bytes]:
        return [self._store.album.thumbnail(photo.id) for photo in photos]
