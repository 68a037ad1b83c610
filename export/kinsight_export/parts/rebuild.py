"""Takes a bundle apart into what it is made of, so that one part can be changed and the rest kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kinsight.bundle import Bundle, read_bundle, read_cohort
from kinsight.bundle.contract import CONTRACT
from kinsight.bundle.read import open_bundle_toml
from kinsight_export.parts.calibration import rewrite_calibration
from kinsight_export.parts.folder import detector_of, embedder_of, faces_of, llm_of
from kinsight_export.parts.specs import BundleSpec
from kinsight_export.parts.writing import write_bundle


def spec_of(folder: Path) -> BundleSpec:
    """What a bundle is made of, without its calibration. BundleError where it is against the contract."""
    folder, toml = open_bundle_toml(folder)
    values = toml.read(CONTRACT)
    head = values["bundle"]
    return BundleSpec(
        name=head["name"],
        version=head["version"],
        world=head["world"],
        licence=head["licence"],
        detector=detector_of(folder, values["detector"]),
        embedder=embedder_of(folder, values["embedder"]),
        llm=llm_of(folder, values["llm"]) if values["llm"] else None,
        faces=faces_of(folder, values["faces"]) if values["faces"] else None,
        parity=values["parity"],
    )


def rewrite(spec: BundleSpec, folder: Path) -> Bundle:
    """The bundle of a folder made anew of these parts; its calibration stays if the embedder is the same.

    BundleError as `write_bundle`, with the old bundle kept.
    """
    before = read_bundle(folder)
    calibration, cohort = before.embedder.calibration, read_cohort(before.embedder)
    same = spec.embedder.id == before.embedder.id
    embedder = replace(spec.embedder, calibration=calibration if same else None)
    after = write_bundle(replace(spec, embedder=embedder), folder, replace=True)
    if same and calibration and len(cohort):
        return rewrite_calibration(folder, calibration, cohort)
    return after
