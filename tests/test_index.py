"""The index against brute force, and the look in eight bits that comes first."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.errors import MissingPackage
from kinsight.index import Index, cosines
from kinsight.index.screen import _SEED, _TOP, Glance, Screen


def unit(rows: int, dim: int, seed: int, tails: float = 0) -> np.ndarray:
    """Unit vectors whose numbers differ in size, the more so the greater `tails`: rounding likes it least."""
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(rows, dim)) * np.exp(tails * rng.normal(size=dim))).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 40),
    m=st.integers(0, 5),
    dim=st.integers(1, 70),
    count=st.integers(0, 50),
    copies=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_finds_what_brute_force_finds(n: int, m: int, dim: int, count: int, copies: int, seed: int) -> None:
    vectors = np.repeat(unit(n, dim, seed), copies, axis=0)
    keys = np.random.default_rng(seed).permutation(len(vectors)).astype(np.int64) - 3
    queries = unit(m, dim, seed + 1)

    found, similarities = Index(vectors, keys).search(queries, count)

    k = min(count, len(vectors))
    assert (found.shape, found.dtype) == ((m, k), np.int64)
    assert (similarities.shape, similarities.dtype) == ((m, k), np.float32)
    cosines = queries @ vectors.T
    best = -np.sort(-cosines, axis=1)[:, :k]
    np.testing.assert_allclose(similarities, best, atol=1e-5)
    assert (np.diff(similarities, axis=1) <= 0).all()
    by_key = {int(key): row for row, key in enumerate(keys)}
    for query in range(m):
        assert len(set(found[query].tolist())) == k
        own = [cosines[query, by_key[int(key)]] for key in found[query]]
        np.testing.assert_allclose(own, similarities[query], atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(copies=st.integers(2, 90), count=st.integers(1, 90), dim=st.integers(2, 300), seed=st.integers(0, 999))
def test_equal_vectors_come_in_the_order_of_their_keys(copies: int, count: int, dim: int, seed: int) -> None:
    same = unit(1, dim, seed)
    others = unit(5, dim, seed + 1000)
    vectors = np.concatenate([np.repeat(same, copies, axis=0), others])
    keys = np.arange(len(vectors), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(vectors))

    found, _ = Index(vectors[order], keys[order]).search(same, count)

    sure = min(count, copies)
    assert found[0, :sure].tolist() == list(range(sure))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 900),
    m=st.integers(1, 5),
    dim=st.integers(2, 20),
    count=st.integers(1, 70),
    copies=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_row_that_is_left_out_is_near(
    n: int, m: int, dim: int, count: int, copies: int, seed: int
) -> None:
    vectors, queries = unit(n, dim, seed), unit(m, dim, seed + 1)
    vectors = np.concatenate([vectors, np.repeat(vectors[:1], copies, axis=0)])
    count = min(count, len(vectors))

    rows, farthest = Index(vectors, np.arange(len(vectors))).look(queries).near(count)

    assert (np.diff(rows) > 0).all()
    cosines = vectors @ queries.T
    kth = -np.sort(-cosines, axis=0)[count - 1]
    assert ((cosines >= kth - 1e-6).any(axis=1) <= np.isin(np.arange(len(vectors)), rows)).all()
    left_out = np.delete(cosines, rows, axis=0)
    assert (left_out <= farthest + 1e-6).all()
    assert (farthest <= kth + 1e-6).all()


def test_few_more_rows_come_than_are_wanted() -> None:
    rows, _ = Index(unit(20_000, 16, 0), np.arange(20_000)).look(unit(4, 16, 1)).near(64)
    assert 64 <= len(rows) <= 4 * 64 * 2


@pytest.mark.parametrize("m", [1, 3])
def test_many_vectors_are_searched_in_blocks(m: int) -> None:
    vectors, queries = unit(140_000, 8, 0), unit(m, 8, 1)
    vectors[[5, 69_000, 139_999]] = queries[0]
    found, similarities = Index(vectors, np.arange(len(vectors))).search(queries, 20)
    assert found[0, :3].tolist() == [5, 69_000, 139_999]
    np.testing.assert_allclose(similarities, -np.sort(-(queries @ vectors.T), axis=1)[:, :20], atol=1e-6)
    assert found.tolist() == np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :20].tolist()


def test_one_query_and_many_have_the_same_types() -> None:
    index = Index(unit(10, 8, 0), np.arange(10))
    for rows in (0, 1, 2):
        keys, similarities = index.search(unit(rows, 8, 1), 3)
        assert keys.shape == similarities.shape == (rows, 3)
        assert isinstance(keys, np.ndarray)
        assert isinstance(similarities, np.ndarray)


def test_an_empty_index_finds_nothing() -> None:
    index = Index(np.zeros((0, 0), np.float32), np.zeros(0, np.int64))
    keys, similarities = index.search(unit(3, 512, 0), 5)
    assert len(index) == 0
    assert keys.shape == similarities.shape == (3, 0)


def test_wrong_shapes_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 8\).*\(3,\)"):
        Index(unit(4, 8, 0), np.arange(3))
    with pytest.raises(ValueError, match=r"\(8,\)"):
        Index(unit(1, 8, 0)[0], np.arange(1))
    for wrong in (np.nan, 0.0, 1.0):
        with pytest.raises(ValueError, match="unit"):
            Index(np.full((1, 8), wrong, np.float32), np.arange(1))
    index = Index(unit(4, 8, 0), np.arange(4))
    with pytest.raises(ValueError, match=r"\(m, 8\), got \(2, 7\)"):
        index.search(unit(2, 7, 0), 1)
    with pytest.raises(ValueError, match=r"\(8,\)"):
        index.search(unit(1, 8, 0)[0], 1)
    with pytest.raises(ValueError, match="unit"):
        index.search(np.full((1, 8), np.inf, np.float32), 1)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 600),
    m=st.integers(1, 6),
    dim=st.integers(1, 40),
    count=st.integers(1, 40),
    tails=st.floats(0, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_eight_bits_lose_nobody(n: int, m: int, dim: int, count: int, tails: float, seed: int) -> None:
    vectors, queries = np.split(unit(n + m, dim, seed, tails), [n])
    count = min(count, n)
    found, farthest = Index(vectors, np.arange(n)).look(queries).near(count)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    needed = exact >= -np.sort(-exact, axis=1)[:, count - 1 : count]
    assert set(np.flatnonzero(needed.any(axis=0)).tolist()) <= set(found.tolist())
    assert (np.delete(exact, found, axis=1) <= farthest[:, None]).all()


def test_the_nearest_is_found_where_rounding_is_at_its_worst() -> None:
    """Rounded, the nearest loses nearly all that a row can lose, and the next one gains as much.

    Every number of the query is a whole step. Of the nearest row all but the first end just below where
    numbers are rounded up, of the next one just above.
    """
    dim = 64
    up_from = 1 - np.random.default_rng(_SEED).random((3, dim), np.float32)[0]  # part of a step
    steps = np.tile(10 + up_from + 0.005, (30, 1))
    steps[0] -= 0.01
    steps[1:, 1] -= 1
    steps[:, 0] = _TOP
    steps[2:, 2:] *= -1  # far away, so that the two are few among many
    vectors = (steps / np.linalg.norm(steps, axis=1, keepdims=True)).astype(np.float32)
    query = np.full((1, dim), 1 / np.sqrt(dim), np.float32)
    exact = vectors.astype(np.float64) @ query[0].astype(np.float64)
    assert exact[0] > exact[1] + 1e-4 > exact[2] + 0.1

    glance = Glance(Screen(vectors), query)
    (doubt,) = glance._screen.doubt(glance._left, glance._steps)
    lost, gained = exact[:2] - glance._near[0, :2]
    assert 0.7 * doubt < lost < doubt and 0.7 * doubt < -gained < doubt  # else this would show nothing
    assert glance.likely(1).tolist() == [1]
    assert glance.reaching(exact[1:2].astype(np.float32)).tolist() == [0, 1]
    assert Index(vectors, np.arange(30)).search(query, 1)[0].tolist() == [[0]]


@pytest.mark.parametrize(("noise", "most"), [(4.0, 100), (0.7, 500)], ids=["apart", "alike"])
def test_eight_bits_leave_few(noise: float, most: int) -> None:
    """Where all are nearly alike as well: then the queries are rounded less."""
    rng = np.random.default_rng(0)
    vectors = unit(1, 256, 0) + noise * rng.standard_normal((5000, 256)).astype(np.float32) / 16
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    glance, exact = Glance(Screen(vectors), vectors[:2]), vectors[:2] @ vectors.T
    found = glance.reaching(-np.sort(-exact, axis=1)[:, 15])
    assert 16 <= len(found) <= most


@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (7, 3), (13, 33), (40, 64)])
def test_rows_that_go_through_in_blocks_are_as_in_one(
    monkeypatch: pytest.MonkeyPatch, rows: int, dim: int
) -> None:
    vectors, queries = unit(rows, dim, 1), unit(3, dim, 2)
    whole = Glance(Screen(vectors), queries)._near
    monkeypatch.setattr("kinsight.index.screen._BLOCK", 100)
    assert np.array_equal(Glance(Screen(vectors), queries)._near, whole)
    assert np.abs(whole - queries @ vectors.T).max() < 0.03


def test_cosines_of_a_look_are_those_of_the_rows_asked_for_and_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, queries = unit(50, 20, 1), unit(3, 20, 2)
    look = Index(vectors, np.arange(50)).look(queries)
    asked: list[int] = []
    monkeypatch.setattr(
        "kinsight.index.exact.cosines", lambda rows, q: asked.append(len(rows)) or cosines(rows, q)
    )
    for rows in ([7, 3], [3, 40, 7], [40], [], list(range(49, -1, -1))):
        found = look.cosines(np.array(rows, np.int64))
        assert np.allclose(found, queries @ vectors[rows].T, atol=1e-6)
    assert asked == [2, 1, 47]


def test_without_usearch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numkong", None)
    with pytest.raises(MissingPackage, match="pip install usearch"):
        Index(unit(4, 8, 0), np.arange(4)).search(unit(1, 8, 1), 1)
