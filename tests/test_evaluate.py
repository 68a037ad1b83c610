"""Evaluation: photos as recall sees them, one-shot retrieval, the curve, and the stages' times."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from identities import draw_identities
from kinsight import calibration
from kinsight.assistant import Assistant
from kinsight.errors import ConfigError, PhotoError
from kinsight.evaluate import Reader, Retrieval, Shot, fit_on, measure, photos_in, read_boxes
from kinsight.evaluate.plot import plot
from kinsight.evaluate.retrieval import Scores
from kinsight.evaluate.shots import strangers_in
from kinsight.image import crop, load, save
from kinsight.types import Floats, Regions
from terminal import Terminal, last_line
from tiny import Blob, BlobPhoto, draw

DIM = 24
BOX = np.array([[10, 20, 60, 70]], np.float32)
SAYS_NOTHING = frozenset[str]()


def axis(number: int) -> Floats:
    """A unit vector, square to those of other numbers."""
    vector: Floats = np.eye(DIM, dtype=np.float32)[number]
    return vector


def shot(identity: str, region: Floats, boxed: Floats | None = None, whole: Floats | None = None) -> Shot:
    """A photo with one region; the whole photo looks like it, unless told otherwise."""
    vectors = np.stack([region, region if whole is None else whole])
    regions = Regions(BOX, np.array([0.9], np.float32), ("thing",))
    return Shot(identity, Path(f"{identity}.png"), regions, vectors, vectors, boxed)


def people(count: int, photos: int = 4) -> list[Shot]:
    """Identities that look the same in every photo, and not at all like each other."""
    return [shot(f"p{number}", axis(number)) for number in range(count) for _ in range(photos)]


def changing(name: str, first: int, photos: int = 4, alike: float = 0.8) -> list[Shot]:
    """An identity whose photos have this similarity to each other; takes the axes from `first` on."""
    own, rest = np.float32(alike**0.5) * axis(first), np.float32((1 - alike) ** 0.5)
    return [shot(name, own + rest * axis(first + 1 + number)) for number in range(photos)]


@pytest.fixture
def reader(assistant: Assistant) -> Reader:
    return Reader(assistant.detector, assistant.embedder)


def test_a_reader_sees_what_recall_sees(reader: Reader, assistant: Assistant, tmp_path: Path) -> None:
    folder = draw_identities(tmp_path / "blobs", ["red", "blue"], photos=2)
    boxes = {"red": {"photo": "red/01.png", "box_norm_xyxy": [0.25, 0.5, 0.75, 1]}}
    (folder / "reference_boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    (folder / "alone").mkdir()
    save(draw([]), folder / "alone" / "00.png")
    (folder / "red" / "notes.txt").write_text("no photo", encoding="utf-8")
    shots = reader.identities(folder)
    names = [(shot.identity, shot.path.name) for shot in shots]
    assert names == [("blue", "00.png"), ("blue", "01.png"), ("red", "00.png"), ("red", "01.png")]
    for seen in shots:
        scene = assistant.see(load(seen.path))
        assert (seen.regions.xyxy == scene.regions.xyxy).all()
        np.testing.assert_allclose(seen.vectors, scene.vectors, atol=1e-6)
        assert seen.views.shape == seen.vectors.shape
    photo = load(shots[3].path).pixels
    (view,) = assistant.embedder.views([crop(photo, (64, 128, 192, 256))])
    assert shots[3].boxed is not None
    np.testing.assert_allclose(shots[3].boxed, view, atol=1e-6)
    assert [shot.boxed is None for shot in shots] == [True, True, True, False]


def test_strangers_are_all_photos_below(reader: Reader, tmp_path: Path) -> None:
    below_masks = tmp_path / "masks" / "strangers"  # only masks inside the folder are no photos
    for place in ("a.PNG", "deep/b.jpeg", "masks/c.png", "deep/masked/d.png", "e.txt"):
        (below_masks / place).parent.mkdir(parents=True, exist_ok=True)
        save(draw([Blob("red", (100, 100, 300, 300))]), below_masks / "picture.png")
        (below_masks / "picture.png").rename(below_masks / place)
    seen = reader.strangers([below_masks, below_masks / "deep"])
    assert [shot.path.name for shot in seen] == ["a.PNG", "b.jpeg", "b.jpeg"]
    assert {(shot.identity, len(shot.regions), shot.boxed) for shot in seen} == {("", 1, None)}
    for empty in (below_masks / "gone", below_masks / "masks" / "deeper"):
        with pytest.raises(
            ConfigError, match=r"there is no photo in .*: give a folder with photos of nobody"
        ):
            strangers_in([below_masks, empty])


def test_photos_by_their_names(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.HEIC", "c.webp", "d.gif", "e.txt", ".jpg"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in photos_in(tmp_path)] == ["a.HEIC", "b.jpg", "c.webp"]


def test_progress_has_an_end(assistant: Assistant, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folder = draw_identities(tmp_path / "blobs", ["red", "blue"], photos=2)
    reader = Reader(
        assistant.detector, assistant.embedder, lambda what, done, total: told.append((what, done, total))
    )
    reader.identities(folder)
    assert told == [("identities", done, 4) for done in range(5)]


@pytest.mark.parametrize(
    "text",
    [
        "not JSON",
        "[]",
        '{"lala": 3}',
        '{"lala": {"photo": "lala/00.png"}}',
        '{"lala": {"photo": "lala/00.png", "box_norm_xyxy": [0.1, 0.2, 0.3]}}',
        '{"lala": {"photo": "lala/00.png", "box_norm_xyxy": [0.5, 0.1, 0.4, 0.9]}}',
        '{"lala": {"photo": "lala/00.png", "box_norm_xyxy": [1.2, 0.1, 1.4, 0.9]}}',
        '{"lala": {"photo": "lala/00.png", "box_norm_xyxy": [NaN, 0.1, 0.4, 0.9]}}',
        '{"lala": {"photo": "lala/00.png", "box_norm_xyxy": ["left", 0.1, 0.4, 0.9]}}',
        '{"lala": {"photo": ["lala/00.png"], "box_norm_xyxy": [0.1, 0.1, 0.4, 0.9]}}',
        "\udcff",
    ],
)
def test_boxes_that_say_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "reference_boxes.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(
        ConfigError, match=r"reference_boxes.json cannot be read as hand-drawn boxes .*: write "
    ):
        read_boxes(tmp_path)


def test_boxes(tmp_path: Path) -> None:
    assert read_boxes(tmp_path) == {}
    entry = {"photo": "lala/00.png", "box_norm_xyxy": [-0.1, 0.25, 0.5, 1], "drawn_by": "hand"}
    (tmp_path / "reference_boxes.json").write_text(json.dumps({"lala": entry}), encoding="utf-8")
    assert read_boxes(tmp_path) == {"lala/00.png": (0.0, 0.25, 0.5, 1.0)}


def test_a_fit_on_identities_that_differ() -> None:
    fitted = fit_on(people(4), "by hand").calibration
    assert fitted.fitted_on == "by hand"
    same, other = calibration.probability(np.array([1, 0], np.float32), fitted).tolist()
    assert other < fitted.unsure_probability <= fitted.accept_probability <= same


def test_a_fit_holds_no_photo_against_itself() -> None:
    fitted = fit_on([*changing("p0", 0), *changing("p1", 5), *changing("p2", 10)], "x").calibration
    assert fitted.curve[-1][0] == pytest.approx(0.8, abs=0.01)


def test_a_fit_takes_the_box_for_the_reference_else_what_the_other_photos_show() -> None:
    """Two regions in every photo: the identity, and a wall that all identities have in common."""
    wall, two = axis(7), Regions(np.repeat(BOX, 2, 0), np.ones(2, np.float32), ("thing", "wall"))

    def photo(number: int, wall_seen: Floats, boxed: Floats | None = None) -> Shot:
        vectors = np.stack([wall_seen, axis(number), axis(6)])
        return Shot(f"p{number}", Path("p.png"), two, vectors, vectors, boxed)

    less = 0.9 * wall + np.float32(0.19**0.5) * axis(8)
    clear = [photo(number, less if turn else wall) for number in range(4) for turn in range(4)]
    assert fit_on(clear, "x").calibration.accept_probability < 1
    astray = [replace(shot, boxed=wall) for shot in clear]
    assert (
        fit_on(astray, "x").calibration.accept_probability == 1
    )  # the same are no nearer than strangers: nobody is named


@pytest.mark.parametrize("shots", [people(1, 9), people(2, 2), people(3, 1)], ids=["one", "few", "single"])
def test_too_few_to_fit_on(shots: list[Shot]) -> None:
    with pytest.raises(ConfigError, match=r"photos of \d identities are too few to fit on \(.*\): give more"):
        fit_on(shots, "x")


def test_retrieval_by_hand() -> None:
    report, scores = measure(people(4), [], SAYS_NOTHING)
    assert report == Retrieval(
        identities=4,
        shots=1,
        queries=12,
        strangers=16,
        recall_at_1=1.0,
        recall_at_2=1.0,
        recall_at_5=1.0,
        auroc=1.0,
        accepted_right=1.0,
        wrongly_named=0.0,
        misnamed=0.0,
        folds=4,
        accepted_right_range=(1.0, 1.0),
        wrongly_named_range=(0.0, 0.0),
    )
    assert (scores.known == 1).all() and (scores.strangers == 0).all() and all(scores.known_first)
    curve = scores.curve()
    assert (curve.accepted_right[1], curve.strangers_named[1]) == (1.0, 0.0)


def test_a_look_alike_stranger_is_named() -> None:
    """Both fits name the stranger who looks like p1: it counts once among 16 + 2 strangers."""
    report, _ = measure(people(4), [shot("", axis(1)), shot("", axis(6))], SAYS_NOTHING)
    assert (report.strangers, report.wrongly_named) == (18, pytest.approx(1 / 18))
    assert (report.accepted_right, report.misnamed) == (1.0, 0.0)


def test_a_photo_that_looks_like_somebody_else() -> None:
    """The fifth photo of p0 looks like p1: not found first, misnamed, and named as a stranger too."""
    odd = shot("p0", axis(1), whole=0.6 * axis(1) + 0.8 * axis(0))
    report, scores = measure([*people(4), odd], [], SAYS_NOTHING)
    assert (report.queries, report.strangers) == (13, 17)
    assert (report.recall_at_1, report.recall_at_2) == (pytest.approx(12 / 13), 1.0)
    assert report.misnamed == pytest.approx(1 / 13)
    assert report.wrongly_named == pytest.approx(1 / 17)
    assert scores.known_first.count(False) == 1 and min(scores.known) == pytest.approx(0.8)
    assert max(scores.strangers) == pytest.approx(1.0)


def test_the_reference_is_the_boxed_photo() -> None:
    """The box of p0's last photo shows p3: all queries of p0 look like nobody, p3 like either."""
    shots = people(4)
    shots[3] = replace(shots[3], boxed=axis(3))
    report, _ = measure(shots, [], SAYS_NOTHING)
    assert report.recall_at_1 < 1
    assert report.accepted_right <= 9 / 12


def test_each_is_judged_by_the_fit_on_the_others() -> None:
    """One changes a lot: a fit on those who never change asks for too much of it alone."""
    shots = [*people(3), *changing("p3", 7, alike=0.5)]
    report, scores = measure(shots, [], SAYS_NOTHING)
    assert report.accepted_right == pytest.approx(9 / 12)
    assert report.accepted_right_range[0] < report.accepted_right < report.accepted_right_range[1]
    assert scores.names == ("p0", "p1", "p2", "p3")
    nobody = 4
    assert scores.confusion[3, nobody] == 3 and scores.confusion[0, 0] == 3
    assert scores.confusion[nobody, nobody] == 16


def test_more_references_find_more() -> None:
    """Every identity is seen from two sides that have nothing in common."""
    shots = [shot(f"p{number}", axis(2 * number + side % 2)) for number in range(4) for side in range(6)]
    one, _ = measure(shots, [], SAYS_NOTHING)
    three, scores = measure(shots, [], SAYS_NOTHING, references=3)
    assert (three.shots, three.queries, three.strangers) == (3, 5 * 4 * 3, 5 * 24)
    assert three.recall_at_1 > one.recall_at_1
    assert len(scores.known) == three.queries and len(scores.strangers) == three.strangers


def test_a_cohort_is_a_unit_vector_for_each_identity() -> None:
    assert fit_on(people(9), "x").cohort.shape == (0, DIM)  # too few
    cohort = fit_on([*people(9), *changing("p9", 15)], "x").cohort
    assert cohort.shape == (10, DIM) and cohort.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(cohort, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(cohort[:9], np.eye(DIM)[:9], atol=1e-6)


def test_halves_that_are_too_small() -> None:
    with pytest.raises(ConfigError, match="are too few to fit on"):
        measure(people(2), [], SAYS_NOTHING)


def test_blobs_are_found_and_strangers_are_not_named(reader: Reader, tmp_path: Path) -> None:
    folder = draw_identities(tmp_path / "blobs", ["red", "yellow", "cyan", "pink"])
    others = draw_identities(tmp_path / "others", ["blue", "green"], photos=1)
    report, _ = measure(reader.identities(folder), reader.strangers([others]), SAYS_NOTHING)
    assert (report.identities, report.queries, report.strangers) == (4, 12, 18)
    assert (report.recall_at_1, report.auroc, report.wrongly_named, report.misnamed) == (1, 1, 0, 0)
    assert report.accepted_right >= 0.5  # a fit gives up some of the same on purpose


def test_eval_retrieval(kinsight: Terminal, tmp_path: Path) -> None:
    folder = draw_identities(tmp_path / "blobs", ["red", "yellow", "cyan", "pink"])
    others = draw_identities(tmp_path / "others", ["blue"], photos=2)
    out, who = tmp_path / "curve.png", tmp_path / "who.png"
    said = kinsight("eval", "retrieval", folder, "--strangers", others, "--out", out, "--confusion", who)
    found = last_line(said)
    assert (found["eval"], found["identities"], found["queries"], found["strangers"]) == (
        "retrieval",
        4,
        12,
        18,
    )
    assert (found["recall_at_1"], found["wrongly_named"], found["folds"]) == (1.0, 0.0, 4)
    words, times, _ = said.out.splitlines()
    assert list(found["timings_ms"]) == ["decode", "detect", "embed", "recall"]
    assert min(found["timings_ms"].values()) > 0
    assert re.fullmatch(
        r"A photo takes, in the median: decode \d+ ms, detect \d+ ms, embed \d+ ms, recall \d+ ms\.", times
    )
    assert f"The curve is in {out}" in said.err
    assert re.match(r".* 4 .* first in 100.0% of 12 photos.* 0.0% of 18 strangers ", words), words
    assert load(out).width > 400 and load(who).width > 400


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("gone",), "there is no folder gone: give a folder that holds one folder per identity"),
        (("blobs", "--strangers", "gone"), "there is no photo in gone: give a folder with photos of nobody"),
        (("few",), "photos of 1 identities are too few to fit on"),
        (("blobs", "--shots", "0"), "'--shots': 0 is not in the range x>=1"),
        (("blobs", "--out", "gone/curve.png"), "gone/curve.png cannot be written"),
    ],
)
def test_eval_retrieval_refuses(
    kinsight: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_identities(tmp_path / "blobs", ["red", "yellow", "cyan", "pink"])
    draw_identities(tmp_path / "few", ["red", "yellow"])
    said = kinsight("-q", "eval", "retrieval", *words)
    assert said.code in (1, 2) and said.err.count("\n") == 1
    assert sentence in said.err


def test_a_curve_of_equal_outcomes(tmp_path: Path) -> None:
    """The mean of three equal shares lies beside them, which must not become an error bar below 0."""
    third = float(np.mean([0.1] * 3))
    assert third > 0.1
    report = Retrieval(4, 1, 12, 16, 1.0, 1.0, 1.0, 1.0, third, third, 0.0, 3, (0.1, 0.1), (0.1, 0.1))
    scores = Scores(np.ones(3, np.float32), [True] * 3, np.zeros(3, np.float32), ("p0",), np.eye(2))
    plot(report, scores, tmp_path / "curve.png")
    assert load(tmp_path / "curve.png").height > 300
    for place in ("curve.docx", "gone/curve.png"):
        with pytest.raises(
            PhotoError, match=r"cannot be written .*: give a .png file in a folder that you can"
        ):
            plot(report, scores, tmp_path / place)


def test_bench_stages(kinsight: Terminal, blob_photo: BlobPhoto) -> None:
    photos = [blob_photo([Blob("red", (60, 200, 220, 420))]), blob_photo([])]
    said = kinsight("bench", "stages", *photos)
    found = last_line(said)
    assert (found["bench"], found["bundle"], found["photos"], found["regions"]) == ("stages", "tiny", 2, 0.5)
    times = {key: value for key, value in found.items() if key.endswith("_ms")}
    times = {key: value for key, value in times.items() if not key.startswith(("llm_", "answer_", "again_"))}
    stages = ("decode", "detect", "embed", "recall", "see", "bare")
    assert list(times) == [f"{stage}_ms" for stage in stages]
    assert min(times["detect_ms"], times["see_ms"], times["bare_ms"], found["see_ratio"]) > 0
    assert times["detect_ms"] + times["embed_ms"] == pytest.approx(times["see_ms"], abs=0.03)
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[: len(stages)]] == list(stages)
    assert lines[-3].startswith("memory") and found["peak_mb"] > 50
    if find_spec("llama_cpp"):
        assert min(found["llm_load_ms"], found["answer_first_token_ms"], found["again_first_token_ms"]) > 0
        assert any(line.startswith("again first token") for line in lines)
    assert lines[-2] == f"detect + embed take {found['see_ratio']:.3f} of the bare session runs."


def test_bench_of_no_photo(kinsight: Terminal, tmp_path: Path) -> None:
    said = kinsight("-q", "bench", "stages", tmp_path / "gone.jpg")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "gone.jpg" in said.err
