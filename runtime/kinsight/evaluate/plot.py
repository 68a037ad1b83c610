"""Draws the accept / wrong-name curve, and who was called whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kinsight.errors import MissingPackage, PhotoError
from kinsight.evaluate.retrieval import Retrieval, Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(report: Retrieval, scores: Scores, path: Path) -> None:
    """Writes the curve as a picture. Raises MissingPackage without matplotlib, PhotoError where it cannot."""
    curve, figure = scores.curve(), new_figure(7, 5)
    axes = figure.add_subplot()
    axes.step(curve.strangers_named, curve.accepted_right, where="post", label="any one threshold for all")
    axes.errorbar(
        [report.wrongly_named],
        [report.accepted_right],
        xerr=_reach(report.wrongly_named, report.wrongly_named_range),
        yerr=_reach(report.accepted_right, report.accepted_right_range),
        fmt="o",
        capsize=4,
        label="threshold of other identities, 90 % over resampled ones",
    )
    axes.axvline(0.05, color="grey", linestyle=":", label="5 % of strangers")
    axes.set(
        xlim=(0, 0.3),
        ylim=(0, 1.01),
        xlabel=f"strangers wrongly named (share of {report.strangers})",
        ylabel=f"right ones accepted (share of {report.queries})",
        title=f"{report.identities} identities, references each: {report.shots}, AUROC {report.auroc:.3f}",
    )
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    save_figure(figure, path)


def plot_confusion(scores: Scores, path: Path) -> None:
    """Writes who was called whom as a picture; raises as `plot`."""
    count = len(scores.names)
    figure = new_figure(3 + 0.45 * count, 2.5 + 0.45 * count)
    axes = figure.add_subplot()
    shares = scores.confusion / np.maximum(scores.confusion.sum(axis=1, keepdims=True), 1e-9)
    axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
    ticks = range(count + 1)
    axes.set_xticks(ticks, [*scores.names, "nobody"], rotation=60, ha="right")
    axes.set_yticks(ticks, [*scores.names, "a stranger"])
    axes.set(xlabel="called", ylabel="is", title="photos, by who is in them and who was named")
    for row, column in zip(*np.nonzero(scores.confusion >= 0.5), strict=True):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{scores.confusion[row, column]:.0f}", ha="center", va="center", color=colour)
    save_figure(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches. Raises MissingPackage without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackage(
            "this is drawn with matplotlib, which is not installed", "pip install 'kinsight[bench]'"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes it as a picture. Raises PhotoError where it cannot."""
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise PhotoError(
            f"{path} cannot be written ({error})", "give a .png file in a folder that you can write"
        ) from None


def _reach(mean: float, least_most: tuple[float, float]) -> list[list[float]]:
    """How far it goes down and up; never below 0, as the mean of equal floats can lie beside them."""
    least, most = least_most
    return [[max(0.0, mean - least)], [max(0.0, most - mean)]]
