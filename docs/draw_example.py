"""Draws the two pictures of the README: one to learn a mug from, one to find it in, beside another mug."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import cos, pi, sin
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, Polygon, Rectangle


@dataclass(frozen=True)
class Mug:
    """How one mug looks."""

    dark: str
    light: str
    band: str
    dots: str


MOMO = Mug("#8e1f2b", "#e2606a", "#f5efe0", "#1f4f8a")
STRANGER = Mug("#2b5a3c", "#79b78c", "#2b5a3c", "#2b5a3c")


def shaded(axes: Axes, shape: Polygon, left: str, right: str) -> None:
    """A shape filled from one colour to the other, as round things look in light from the right."""
    axes.add_patch(shape)
    box = shape.get_extents().transformed(axes.transData.inverted())
    ramp = LinearSegmentedColormap.from_list("shade", [left, right, left])
    picture = axes.imshow(
        np.linspace(0, 0.85, 64)[None], cmap=ramp, vmin=0, vmax=1, aspect="auto",
        extent=(box.x0, box.x1, box.y0, box.y1), zorder=shape.get_zorder(),
    )  # fmt: skip
    picture.set_clip_path(shape)


def mug(axes: Axes, x: float, y: float, size: float, look: Mug, handle: int) -> None:
    """A mug that stands at x, y; `handle` 1 to the right, -1 to the left."""
    axes.add_patch(Ellipse((x, y), 1.6 * size, 0.28 * size, color="#00000044", lw=0))
    ring = Ellipse((x + handle * 0.72 * size, y + 0.75 * size), 0.75 * size, 0.85 * size, fill=False)
    ring.set(lw=11 * size, ec=look.dark)
    axes.add_patch(ring)
    foot = [(0.64 * cos(t), 0.06 + 0.12 * sin(t)) for t in np.linspace(pi, 2 * pi, 20)]
    body = [(-0.7, 1.5), (-0.64, 0.06), *foot]
    outline = [(x + px * size, y + py * size) for px, py in [*body, (0.7, 1.5)]]
    shaded(axes, Polygon(outline, lw=0), look.dark, look.light)
    band = [(-0.675, 0.95), (-0.66, 0.55), (0.66, 0.55), (0.675, 0.95)]
    axes.add_patch(Polygon([(x + px * size, y + py * size) for px, py in band], color=look.band, lw=0))
    for place in (-0.45, -0.15, 0.15, 0.45):
        axes.add_patch(Circle((x + place * size, y + 0.75 * size), 0.1 * size, color=look.dots, lw=0))
    axes.add_patch(Ellipse((x, y + 1.5 * size), 1.4 * size, 0.34 * size, fc=look.light, ec=look.dark, lw=2))
    axes.add_patch(Ellipse((x, y + 1.47 * size), 1.24 * size, 0.25 * size, color="#3a2418", lw=0))


def clock(axes: Axes, x: float, y: float, radius: float) -> None:
    """A wall clock at ten past ten."""
    axes.add_patch(Circle((x, y), radius, fc="#fbfaf5", ec="#333333", lw=9))
    for hour in range(12):
        turn = pi / 2 - hour * pi / 6
        spot = (x + 0.78 * radius * cos(turn), y + 0.78 * radius * sin(turn))
        axes.text(*spot, str(hour or 12), ha="center", va="center", fontsize=15 * radius, weight="bold")
    for turn, length, width in ((pi / 2 + pi / 3.4, 0.45, 6), (pi / 2 - pi / 3, 0.62, 4)):
        axes.plot([x, x + length * radius * cos(turn)], [y, y + length * radius * sin(turn)], "k-", lw=width)


def wall(axes: Axes, paper: str, board: str) -> None:
    """A wall and a table."""
    axes.add_patch(Rectangle((0, 0), 8, 6, color=paper, lw=0))
    axes.add_patch(Rectangle((0, 0), 8, 1.6, color=board, lw=0))
    axes.add_patch(Rectangle((0, 1.52), 8, 0.08, color="#00000033", lw=0))


def canvas() -> tuple[Figure, Axes]:
    """800 x 600 pixels, 8 x 6 units."""
    figure = Figure(figsize=(8, 6), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 8), ylim=(0, 6), aspect="auto")
    axes.axis("off")
    return figure, axes


def main(out: Path) -> None:
    """Writes momo.png and shelf.png."""
    out.mkdir(parents=True, exist_ok=True)
    figure, axes = canvas()
    wall(axes, "#dfe6e4", "#a97c50")
    mug(axes, 3.9, 1.0, 2.1, MOMO, 1)
    axes.set(xlim=(0, 8), ylim=(0, 6))
    figure.savefig(out / "momo.png")
    figure, axes = canvas()
    wall(axes, "#e9e0cc", "#6f4d33")
    clock(axes, 4.1, 4.4, 1.05)
    mug(axes, 1.9, 0.8, 1.35, STRANGER, 1)
    mug(axes, 6.0, 0.7, 1.45, MOMO, -1)
    axes.set(xlim=(0, 8), ylim=(0, 6))
    figure.savefig(out / "shelf.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
