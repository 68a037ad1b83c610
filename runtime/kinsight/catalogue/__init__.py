"""The catalogue: bundles that can be pulled, what fits this machine, and how they are installed and tried."""

from kinsight.catalogue.entries import Catalogue, Entry, Part, Recipe, RemoteFile, load_catalogue
from kinsight.catalogue.fit import Fit, fit
from kinsight.catalogue.install import Order, add, clean, pull, remove
from kinsight.catalogue.smoke import Trial, try_bundle

__all__ = [
    "Catalogue",
    "Entry",
    "Fit",
    "Order",
    "Part",
    "Recipe",
    "RemoteFile",
    "Trial",
    "add",
    "clean",
    "fit",
    "load_catalogue",
    "pull",
    "remove",
    "try_bundle",
]
