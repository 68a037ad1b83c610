"""`kinsight-export calibrate`: fits on photos when a bundle names somebody."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from kinsight.cli.desk import progress
from kinsight_export.cli.options import A_FILE


@click.command(epilog="Example: kinsight-export calibrate my-bundle photos-with-a-folder-per-identity")
@click.argument("bundle_folder", type=A_FILE)
@click.argument("photos", type=A_FILE)
def calibrate(bundle_folder: Path, photos: Path) -> None:
    """Fit when to name somebody, from PHOTOS with a folder per identity (none that you test on later)."""
    calibrated(bundle_folder, photos)


def calibrated(bundle_folder: Path, photos: Path) -> None:
    """Fits on the photos, writes that into the bundle and says what it accepts."""
    from kinsight.bundle import check_hashes, read_bundle
    from kinsight.detect import Detector
    from kinsight.embed import Embedder
    from kinsight.evaluate import Reader, fit_on
    from kinsight_export.parts import rewrite_calibration
    from kinsight_export.trial import WORKSTATION

    found = read_bundle(bundle_folder)
    check_hashes(found)
    reader = Reader(Detector(found.detector, WORKSTATION), Embedder(found.embedder, WORKSTATION), progress)
    shots = reader.identities(photos)
    count = len({shot.identity for shot in shots})
    fitted_on = (
        f"{photos.resolve().name}, {count} identities, {len(shots)} photos, {date.today().isoformat()}"
    )
    fitted = fit_on(shots, fitted_on)
    calibration = fitted.calibration
    rewrite_calibration(bundle_folder, calibration, fitted.cohort)
    if calibration.accept_probability > calibration.curve[-1][1] - 1e-6:
        click.echo("These identities look no more alike than strangers do: it will name nobody.")
    click.echo(
        f"{found.name} accepts from probability {calibration.accept_probability:.2f} on and "
        f"says maybe from {calibration.unsure_probability:.2f}; fitted on {fitted_on}."
    )
