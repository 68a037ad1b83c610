"""Options that several verbs of `kinsight-export` share."""

from __future__ import annotations

from pathlib import Path

import click

A_FILE = click.Path(path_type=Path)
"""A file or folder; whoever uses it says what is wrong with it."""
