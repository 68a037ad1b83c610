"""Draws the accept / wrong-name curve."""

from __future__ import annotations

from pathlib import Path

from kinsight.errors import MissingPackage, PhotoError
from kinsight.evaluate.retrieval import Retrieval, Scores


def plot(report: Retrieval, scores: Scores, path: Path) -> None:
    """Writes the curve as a picture. Raises MissingPackage without matplotlib, PhotoError where it cannot."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackage(
            "the curve is drawn with matplotlib, which is not installed", "pip install 'kinsight[bench]'"
        ) from None
    curve = scores.curve()
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.step(curve.strangers_named, curve.accepted_right, where="post", label="any one threshold for all")
    axes.errorbar(
        [report.wrongly_named],
        [report.accepted_right],
        xerr=_reach(report.wrongly_named, report.wrongly_named_range),
        yerr=_reach(report.accepted_right, report.accepted_right_range),
        fmt="o",
        capsize=4,
        label=f"threshold of other identities, {report.splits} halvings: mean, least and most",
    )
    axes.axvline(0.05, color="grey", linestyle=":", label="5 % of strangers")
    axes.set(
        xlim=(0, 0.3),
        ylim=(0, 1.01),
        xlabel=f"strangers wrongly named (share of {report.strangers})",
        ylabel=f"right ones accepted (share of {report.queries})",
        title=f"{report.identities} identities, one reference each, AUROC {report.auroc:.3f}",
    )
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
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
