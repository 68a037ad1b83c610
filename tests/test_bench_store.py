"""The benches of the store and the album measure what they say, and touch nothing of the user's."""

import numpy as np
import pytest

from kinsight.bench.search import Task, made_up
from kinsight.bench.searchers import EXACT, SEARCHERS
from kinsight.cli import benching
from terminal import Terminal, fine, last_line
from tiny import Blob, BlobPhoto


@pytest.mark.parametrize("name", EXACT[:2])
def test_exact_searchers_find_the_nearest(name: str) -> None:
    vectors, queries = made_up(Task(300, 16))
    found = SEARCHERS[name](vectors, 1)(queries, 7)
    assert found.tolist() == np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :7].tolist()


def test_made_up_views_recur() -> None:
    """The nearest view of a query is one of its individual's, so there is something to find."""
    vectors, queries = made_up(Task(400, 64, seed=3))
    assert vectors.dtype == queries.dtype == np.float32
    nearest = (queries @ vectors.T).argmax(axis=1) % 100
    most = [(np.sort(query @ vectors.T)[-4:].mean()) for query in queries]
    assert len(set(nearest.tolist())) > 50 and np.mean(most) > 0.5


@pytest.mark.stress
def test_bench_recall(kinsight: Terminal) -> None:
    said = kinsight(
        "bench", "recall", "--views", "300", "--only", "kinsight", "--only", "numpy", "--dim", "8"
    )
    found = last_line(said)
    assert [(row["searcher"], row["found"]) for row in found["rows"]] == [("kinsight", 1.0), ("numpy", 1.0)]
    assert found["exact_ratio"]["300"] > 0 and found["left_out"] == []
    assert set(benching.SEARCHERS) == set(SEARCHERS)


def test_bench_recall_says_what_is_left_out(kinsight: Terminal) -> None:
    said = kinsight("bench", "recall", "--views", "100", "--only", "numpy", "--limit", "0.01")
    (left,) = last_line(said)["left_out"]
    assert (left["searcher"], left["reason"]) == ("numpy", "longer than 0.01 s")


@pytest.mark.stress
def test_bench_crowd_and_album(kinsight: Terminal, blob_photo: BlobPhoto) -> None:
    photos = [blob_photo([Blob(colour, (20, 20, 120, 120))]) for colour in ("red", "blue")]
    crowd = last_line(kinsight("bench", "crowd", photos[0], "--concepts", "50"))
    for found in crowd, crowd["alike"]:
        assert crowd["concepts"] == 50 and 0 < found["lookup_share"] < 1 and 0 < found["clock_share"] < 1
    album = last_line(kinsight("bench", "album", photos[0].parent))
    assert album["photos"] >= 1 and album["ratio"] > 0
    assert fine(kinsight("concepts", "--json")).json["concepts"] == []
