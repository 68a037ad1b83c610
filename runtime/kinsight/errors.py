"""One tree of errors; each is one sentence: what is wrong, then the mend.

KinsightError                 exit code 1
├── PhotoError                a picture cannot be read or written
├── RegionError               a box or number does not fit the photo, or several candidates and no choice
├── ConceptError              a name, alias or field that cannot be kept
│   ├── UnknownConcept        nobody of that name is in the store
│   └── DuplicateName         somebody of that name is in the store already
├── BundleError               a bundle is missing, damaged or against its contract
├── CatalogueError            the catalogue is wrong, or has no such bundle
├── PullError                 a bundle cannot be downloaded, brought or installed
├── ConfigError               a device config or an option is wrong
├── HomeError                 the home folder cannot be made, read or written
├── StoreError                the store cannot be opened, read or written
│   ├── StoreBusy             another process holds it for too long
│   ├── StoreDamaged          its file is damaged or cut off
│   ├── VaultError            it is encrypted and the key is missing or wrong, or a key cannot be used
│   └── NothingToUndo         the journal is empty
├── ArchiveError              a backup or an exported folder cannot be read, written or trusted
├── ModelError                a model file cannot be loaded or run
│   ├── TooLong               a prompt and its answer are longer than the model's context
│   └── ParityError           an exported model does not agree with its source
└── MissingPackage            a Python package that this verb needs is not installed
"""

from __future__ import annotations


class KinsightError(Exception):
    """Base of all errors; `problem` says what is wrong, `mend` what the user can do about it."""

    exit_code = 1

    def __init__(self, problem: str, mend: str) -> None:
        self.problem = " ".join(problem.split())
        self.mend = " ".join(mend.split())
        super().__init__(f"{self.problem}: {self.mend}")


class PhotoError(KinsightError):
    """A picture cannot be read or written."""


class RegionError(KinsightError):
    """A box or region number does not fit the photo, or there are several candidates and no choice."""


class ConceptError(KinsightError):
    """A name, alias or field that cannot be kept."""


class UnknownConcept(ConceptError):
    """Nobody of that name is in the store."""


class DuplicateName(ConceptError):
    """Somebody of that name is in the store already."""


class BundleError(KinsightError):
    """A bundle is missing, damaged or against its contract."""


class CatalogueError(KinsightError):
    """The catalogue is wrong, or has no such bundle."""


class PullError(KinsightError):
    """A bundle cannot be downloaded, brought or installed."""


class ConfigError(KinsightError):
    """A device config or an option is wrong."""


class HomeError(KinsightError):
    """The home folder cannot be made, read or written."""


class StoreError(KinsightError):
    """The store cannot be opened, read or written."""


class StoreBusy(StoreError):
    """Another process holds the store for too long."""


class StoreDamaged(StoreError):
    """Its file is damaged or cut off."""


class VaultError(StoreError):
    """It is encrypted and the key is missing or does not fit, or a key cannot be used."""


class NothingToUndo(StoreError):
    """The journal is empty."""


class ArchiveError(KinsightError):
    """A backup or an exported folder cannot be read, written or trusted."""


class ModelError(KinsightError):
    """A model file cannot be loaded or run."""


class TooLong(ModelError):
    """A prompt and its answer are longer than the model's context."""


class ParityError(ModelError):
    """An exported model does not agree with its source."""


class MissingPackage(KinsightError):
    """A Python package that this verb needs is not installed."""
