"""Which region of a photo the user means when they teach, and the view that is kept of it."""

from __future__ import annotations

import numpy as np

from kinsight.embed import Embedder
from kinsight.errors import RegionError
from kinsight.image import crop, decode, encode_jpeg, thumbnail
from kinsight.prompt import place, share
from kinsight.prompt.facts import NOTABLE_SCORE
from kinsight.store import NewView, Store
from kinsight.types import Box, Concept, Photo, Pixels, Regions, Scene

_LEAST_SHARE = 0.01
_RIVAL = 0.6
_VIEW_LONGEST = 512
_VIEW_QUALITY = 92
_LEAST_SIDE_PX = 4
_BATCH = 16


def candidates(photo: Photo, regions: Regions) -> list[int]:
    """Rows of the regions that a teacher may mean, best first; a single one where it stands out.

    What counts is the detector's score, the size, and how near to the middle of the photo it is.
    """
    shares = [share(regions.box(row), photo.width, photo.height) for row in range(len(regions))]
    worth = {
        row: _prominence(photo, regions, row) for row in range(len(regions)) if shares[row] >= _LEAST_SHARE
    }
    ranked = sorted(worth, key=lambda row: -worth[row])
    return [row for row in ranked if worth[row] >= _RIVAL * worth[ranked[0]]]


def meant(scene: Scene, category: str) -> list[int]:
    """The candidates, best first; only those of the category's kind where the detector surely sees any."""
    regions, kind = scene.regions, category.strip().casefold()
    of_kind = [row for row, label in enumerate(regions.labels) if label.casefold() == kind]
    sure = [row for row in of_kind if regions.scores[row] >= NOTABLE_SCORE]
    among_them = [sure[row] for row in candidates(scene.photo, regions.take(sure))]
    rows = candidates(scene.photo, regions)
    return among_them or [row for row in rows if row in of_kind] or rows


def choose(scene: Scene, category: str, box: Box | None, region: int | None) -> Box:
    """The box that is taught: the one given, or the only candidate; the whole photo where nothing is found.

    `region` counts from 1, as in `look`; 0 is the whole photo. A category narrows the candidates to its kind.
    Raises RegionError where box or number do not fit the photo, or where several candidates are left.
    """
    photo, regions = scene.photo, scene.regions
    if box is not None:
        return _inside(box, photo)
    if region is not None:
        try:
            return numbered(scene, region)
        except RegionError as error:
            raise RegionError(error.problem, f"{error.mend}, or pass --box x0,y0,x1,y1") from None
    rows = meant(scene, category)
    if not rows:
        return _whole(photo)
    if len(rows) > 1:
        raise RegionError(
            f"several things could be meant ({'; '.join(describe(scene, row) for row in sorted(rows))})",
            "choose one with --region N, or draw your own with --box x0,y0,x1,y1",
        )
    return regions.box(rows[0])


def numbered(scene: Scene, region: int) -> Box:
    """The box of a region by its number, in `look`; 0: the whole photo. RegionError where there is none."""
    if region == 0:
        return _whole(scene.photo)
    count = len(scene.regions)
    if not 1 <= region <= count:
        mend = f"choose one of 1 to {count}, 0: the whole photo" if count else "choose 0, the whole photo"
        raise RegionError(f"there is no region {region} in this photo", mend)
    return scene.regions.box(region - 1)


def taken_for(scene: Scene, concept: Concept) -> int:
    """The number of the region that recall named so, as in `look`, 0: the whole photo.

    Raises RegionError where nothing in the photo is taken for this concept.
    """
    for row, match in (*scene.accepted(), *scene.unsure()):
        if match.concept_id == concept.id:
            return 0 if row is None else row + 1
    raise RegionError(
        f"nothing in this photo is taken for {concept.name}",
        "say what is not with --region N, as look numbers it",
    )


def describe(scene: Scene, row: int) -> str:
    """A region in words: "2: dog, on the left, 30 % of the photo"."""
    covered = share(scene.regions.box(row), scene.photo.width, scene.photo.height)
    percent = f"{covered:.0%}".replace("%", " %") if covered >= 0.01 else "under 1 %"
    return f"{row + 1}: {scene.regions.labels[row]}, {place(scene, row)}, {percent} of the photo"


def new_view(photo: Photo, box: Box, embedder: Embedder) -> NewView:
    """The crop of a box with its vector, ready for the store."""
    pixels = crop(photo.pixels, box)
    return NewView(kept_picture(pixels), box, photo.sha256, embedder.part.id, embedder.views([pixels])[0])


def kept_picture(pixels: Pixels) -> bytes:
    """A crop, uint8 (h, w, 3) RGB, as the store keeps it: a JPEG file of at most 512 pixels a side."""
    return encode_jpeg(thumbnail(pixels, _VIEW_LONGEST), _VIEW_QUALITY)


def catch_up(store: Store, embedder: Embedder) -> int:
    """Embeds the stored pictures that this embedder has not seen, so no name is lost; how many there were."""
    owners = store.views_without_vector(embedder.part.id)
    for start in range(0, len(owners), _BATCH):
        batch = owners[start : start + _BATCH]
        pictures = [decode(store.picture(*owner)).pixels for owner in batch]
        store.put_vectors(embedder.part.id, batch, embedder.views(pictures))
    return len(owners)


def _prominence(photo: Photo, regions: Regions, row: int) -> float:
    x0, y0, x1, y1 = regions.box(row)
    off_centre = np.hypot((x0 + x1) / 2 / photo.width - 0.5, (y0 + y1) / 2 / photo.height - 0.5) / np.sqrt(
        0.5
    )
    size = min(share((x0, y0, x1, y1), photo.width, photo.height), 0.8)
    return float(np.sqrt(regions.scores[row] * size) * (1 - 0.5 * off_centre))


def _whole(photo: Photo) -> Box:
    return 0.0, 0.0, float(photo.width), float(photo.height)


def _inside(box: Box, photo: Photo) -> Box:
    x0, y0 = max(0.0, box[0]), max(0.0, box[1])
    x1, y1 = min(float(photo.width), box[2]), min(float(photo.height), box[3])
    if not (np.isfinite(box).all() and x1 - x0 >= _LEAST_SIDE_PX and y1 - y0 >= _LEAST_SIDE_PX):
        raise RegionError(
            f"the box {box[0]:g},{box[1]:g},{box[2]:g},{box[3]:g} is not in this photo of "
            f"{photo.width} x {photo.height}",
            "give x0,y0,x1,y1 in pixels, from the top left corner to the bottom right one",
        )
    return x0, y0, x1, y1
