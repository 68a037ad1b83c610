"""Writes parts and bundles: copied, hashed, read back, and put in place whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from kinsight.bundle import Bundle, check_hashes, read_bundle
from kinsight.bundle.contract import FORMAT
from kinsight.bundle.files import BUNDLE_TOML
from kinsight.bundle.place import put_in_place
from kinsight.bundle.verify import sha256_of
from kinsight.errors import BundleError
from kinsight.home import expanded
from kinsight.tomlwrite import toml_bytes
from kinsight_export.parts.folder import PART_TOML, Part, read_part
from kinsight_export.parts.specs import (
    BundleSpec,
    DetectorSpec,
    EmbedderSpec,
    Hashes,
    LlmSpec,
    PartSpec,
    Sources,
    detector_table,
    embedder_table,
    faces_table,
    llm_table,
    sources_of,
)

DISK = "make the folder writable and its disk roomy enough"


def write_bundle(spec: BundleSpec, out: Path, replace: bool = False) -> Bundle:
    """Make the bundle in a folder beside `out`, read it back with its hashes, then rename it to `out`.

    A bundle that is there already is refused without `replace`, and kept until the new one is whole.
    BundleError where a source is missing, the parts are against the contract or the disk refuses.
    """
    out = expanded(out).resolve()
    with _staging(out, BUNDLE_TOML, replace) as staging:
        hashes = _copy(sources_of(spec.detector, spec.embedder, spec.llm, spec.faces), staging)
        (staging / BUNDLE_TOML).write_bytes(toml_of(_bundle_tables(spec, hashes)))
        check_hashes(read_bundle(staging))
    return read_bundle(out)


def write_part(spec: PartSpec, parity: Mapping[str, Any], out: Path, replace: bool = False) -> Part:
    """The same for one part: a folder with part.toml, which `kinsight-export bundle` takes.

    `parity` is what stands under [parity], a table a report. BundleError as `write_bundle`.
    """
    out = expanded(out).resolve()
    with _staging(out, PART_TOML, replace) as staging:
        detector = spec if isinstance(spec, DetectorSpec) else None
        embedder = spec if isinstance(spec, EmbedderSpec) else None
        llm = spec if isinstance(spec, LlmSpec) else None
        hashes = _copy(sources_of(detector, embedder, llm), staging)
        tables = {
            "part": {"format": FORMAT},
            "detector": detector_table(detector, hashes) if detector else None,
            "embedder": embedder_table(embedder, hashes) if embedder else None,
            "llm": llm_table(llm, hashes) if llm else None,
            "parity": parity,
        }
        (staging / PART_TOML).write_bytes(toml_of(tables))
        read_part(staging)
    return read_part(out)


def _bundle_tables(spec: BundleSpec, hashes: Hashes) -> dict[str, Any]:
    """bundle.toml as nested tables, in the order of the contract."""
    return {
        "bundle": {
            "format": FORMAT,
            "name": spec.name,
            "version": spec.version,
            "world": spec.world,
            "licence": spec.licence,
        },
        "detector": detector_table(spec.detector, hashes),
        "embedder": embedder_table(spec.embedder, hashes),
        "faces": faces_table(spec.faces, hashes) if spec.faces else None,
        "llm": llm_table(spec.llm, hashes) if spec.llm else None,
        "parity": spec.parity,
    }


def _copy(sources: Sources, folder: Path) -> dict[str, str]:
    """Name in the bundle -> sha256 of the source."""
    for source in sources.values():
        if not source.is_file():
            raise BundleError(f"there is no file {source}", "check the path")
    for name, source in sources.items():
        shutil.copyfile(source, folder / name)
    return {name: sha256_of(source) for name, source in sources.items()}


def toml_of(tables: Mapping[str, Any]) -> bytes:
    """The TOML of nested tables. BundleError where a text is no Unicode."""
    try:
        return toml_bytes(tables)
    except UnicodeEncodeError as cause:
        raise BundleError(
            f"a text for {BUNDLE_TOML} is not Unicode ({cause.reason})", "write it in UTF-8"
        ) from None


def _refuse_taken(out: Path, marker: str, replace: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise BundleError(f"{out} is not a folder", "choose another one")
    ours = os.access(out / marker, os.R_OK)
    if any(out.iterdir()) and not (replace and ours):
        mend = "choose another folder, or pass --replace" if ours else "choose another folder"
        raise BundleError(f"{out} is there already and not empty", mend)


@contextmanager
def _staging(out: Path, marker: str, replace: bool) -> Iterator[Path]:
    """A new folder beside `out`, renamed to it at the end, or gone where something was refused.

    What stands at `out` is kept until then; it may only be what has the `marker`, and only with `replace`.
    BundleError for an OSError.
    """
    staging = out.parent / f".{out.name}.{token_hex(4)}"
    try:
        staging.mkdir(parents=True)
        _refuse_taken(out, marker, replace)
        yield staging
        put_in_place(staging, out)
    except OSError as cause:
        raise BundleError(f"{out} cannot be written ({cause})", DISK) from None
    except BundleError as error:
        raise BundleError(error.problem.replace(str(staging), str(out)), error.mend) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
