"""The benches of the store and the album: searching many views, thousands of concepts, a folder of photos."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinsight.cli.desk import Desk, desk_options, into, pass_desk, progress
from kinsight.cli.measuring import bench
from kinsight.cli.show import columns
from kinsight.errors import ConfigError

if TYPE_CHECKING:
    from kinsight.bench.search import Row

_FOLDER = click.Path(path_type=Path)
SEARCHERS = ("kinsight", "numpy", "usearch-exact", "faiss-flat", "sqlite-vec", "usearch-hnsw")


@dataclass
class Searching:
    """What is searched for in the bench of recall."""

    views: tuple[int, ...] = (1_000, 10_000, 100_000)
    only: tuple[str, ...] = SEARCHERS
    dim: int = 256
    queries: int = 8
    threads: int = 0
    limit: float = 600


_SEARCHING: tuple[tuple[str, click.ParamType[Any], str], ...] = (
    ("--views", click.IntRange(1), "Views to search among; repeatable; 1000, 10000 and 100000 if not given."),
    ("--only", click.Choice(SEARCHERS), "One of them; repeatable."),
    ("--dim", click.IntRange(2), "Numbers in a vector; 256 if not given."),
    ("--queries", click.IntRange(1), "Searched for at once, as by one look; 8 if not given."),
    ("--threads", click.IntRange(0), "All cores if not given."),
    ("--limit", click.FloatRange(0, min_open=True), "Seconds for each of them; 600 if not given."),
)
pass_searching = click.make_pass_decorator(Searching, ensure=True)


@bench.command(
    params=[
        click.Option(
            [name],
            type=kind,
            multiple=name in ("--views", "--only"),
            help=text,
            expose_value=False,
            callback=into(Searching),
        )
        for name, kind, text in _SEARCHING
    ],
    epilog="Example: kinsight bench recall --views 1000 --views 100000 --threads 1",
)
@pass_searching
def recall(searching: Searching) -> None:
    """Find the nearest of many views: kinsight's search beside others, each in a process of its own.

    The views are made up from a seed. Nothing of yours is touched. What is not installed is left out and
    said; `pip install "kinsight[bench]"` installs what can be.
    """
    from kinsight.bench.search import Row, Task, compare, summary

    shape = searching.dim, searching.queries
    tasks = [Task(n, *shape, threads=searching.threads, limit_s=searching.limit) for n in searching.views]
    rows: list[Row] = []
    failures: list[tuple[str, int, str]] = []
    for found in compare(searching.only, tasks, progress):
        if isinstance(found, Row):
            rows.append(found)
        else:
            failures.append(found)
    head = ["searcher", "views", "search", "processor", "found", "ready in", "memory"]
    for line in columns([head, *map(_cells, rows)]):
        click.echo(line)
    for name, count, reason in failures:
        click.echo(f"{name}, {count:,} views: left out, {reason}")
    click.echo(json.dumps(summary(rows, failures, tasks[0])))


@bench.command(epilog="Example: kinsight bench crowd holiday/*.jpg --concepts 10000")
@click.argument("photos", nargs=-1, required=True, type=_FOLDER)
@click.option("--concepts", type=click.IntRange(1), default=10_000, show_default=True, help="Made-up ones.")
@pass_desk
def crowd(desk: Desk, photos: tuple[Path, ...], concepts: int) -> None:
    """Teach thousands of made-up concepts: how long the start takes, and looking somebody up in PHOTOS.

    Nothing of yours is touched: they go into a home of their own that is deleted afterwards.
    """
    from kinsight.bench.crowd import crowd as measure

    with tempfile.TemporaryDirectory() as scratch, desk.newcomer(Path(scratch)) as assistant:
        result = measure(assistant, concepts, photos)
    click.echo(
        f"With {concepts:,} concepts kinsight is ready in {result['start_s']:.2f} s; looking one up takes"
    )
    for crowd, found in {"a made-up crowd": result, "one that resembles the photos": result["alike"]}.items():
        click.echo(
            f"in {crowd} {found['lookup_ms']:.1f} of the {found['look_ms']:.1f} ms of a look, "
            f"{found['lookup_share']:.1%} (by the clock {found['clock_share']:.1%})."
        )
    click.echo(json.dumps(result))


@bench.command(epilog="Example: kinsight bench album ~/Pictures/2024")
@click.argument("folder", type=_FOLDER)
@pass_desk
def album(desk: Desk, folder: Path) -> None:
    """Add the photos of FOLDER to an album: what that takes, against detecting and embedding alone.

    Nothing of yours is touched: the album is in a home of its own that is deleted afterwards.
    """
    from kinsight.bench.album import album as measure
    from kinsight.image import PHOTO_SUFFIXES

    photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise ConfigError(f"there are no photos in {folder}", "name a folder with JPEG or PNG files")
    with tempfile.TemporaryDirectory() as scratch, desk.newcomer(Path(scratch)) as assistant:
        result = measure(assistant, photos, progress)
    click.echo(
        f"{result['photos']} photos, {result['photos_per_s']:.1f} a second; adding one takes "
        f"{result['add_ms']:.1f} ms of the processors, {result['ratio']:.2f} of detect and embed alone."
    )
    click.echo(json.dumps(result))


def _cells(row: Row) -> list[str]:
    return [
        row.searcher,
        f"{row.views:,}",
        f"{row.search_ms:.2f} ms",
        f"{row.processor_ms:.2f} ms",
        f"{row.found:.1%}",
        f"{row.build_s:.2f} s",
        f"{row.memory_mb:.0f} MB",
    ]


for _verb in (recall, crowd, album):
    _verb.params.extend(desk_options(hidden=True))

__all__ = ["bench"]
