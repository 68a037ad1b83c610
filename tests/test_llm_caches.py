"""What the engine keeps: nothing that is read twice is computed twice, and every answer stays the same."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinsight.llm import Generation, Llm, Picture, Text, Turn, load_llm
from kinsight.llm.blobs import Blobs
from kinsight.llm.pictures import Chunks
from kinsight.types import Floats
from talkers import NEEDS_LLAMA_CPP, device, part, picture
from tiny_gguf import WINDOW, make_text_gguf, make_vision_pair

pytestmark = NEEDS_LLAMA_CPP
KINDS = ("gemma3", "qwen2vl_merger")
MOST_DIFFERENCE = 0.05


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_vision_pair(tmp_path_factory.mktemp("pair"), request.param)


def loaded(pair: tuple[Path, Path], cache: Path | None = None) -> Llm:
    return load_llm(part(*pair, sees="photo+references"), device(), cache)


def turns(*parts: Text | Picture) -> list[Turn]:
    return [Turn("user", parts)]


def about(seeds: Sequence[int], words: str, told: Sequence[str] = ()) -> list[Turn]:
    """A photo and references with their notes, then a question."""
    notes = itertools.zip_longest((picture(seed) for seed in seeds), map(Text, told))
    return turns(Text("Hello"), *(piece for both in notes for piece in both if piece), Text(words))


def logits(llm: Llm, asked: list[Turn]) -> tuple[Floats, dict[str, int], dict[str, float]]:
    """float32 (vocabulary,) after a prompt, and what it cost."""
    stream = llm.generate(asked, Generation(max_tokens=1))
    next(stream, "")
    found = np.array(llm._model.logits())
    stream.close()
    usage = stream.usage
    return found, dict(usage.tokens), dict(usage.timings_ms)


def test_answers_are_the_same_with_and_without_what_was_kept(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Orders of pictures, longer and shorter prompts, turns back to an earlier photo, a second process."""
    rng = np.random.default_rng(3)
    asked = []
    for _ in range(25):
        seeds = [int(seed) for seed in rng.integers(0, 4, int(rng.integers(0, 4)))]
        told = [f" Lala is a dog{'.' * int(rng.integers(1, 9))}" for _ in seeds]
        asked += [about(seeds, words, told) for words in ("a dog", " Ann is a cat.", "a dog Hello")]
    with loaded(pair, tmp_path / "cache") as llm, loaded(pair) as fresh:
        reused = 0
        for one in asked:
            fresh._context.clear()
            fresh._states.clear()
            fresh._pictures.clear()
            plain, tokens, _ = logits(fresh, one)
            assert tokens["cached"] == 0
            kept, tokens, _ = logits(llm, one)
            reused += bool(tokens["cached"])
            assert np.abs(kept - plain).max() <= MOST_DIFFERENCE
        assert reused >= len(asked) // 2
    with loaded(pair, tmp_path / "cache") as again, loaded(pair) as fresh:
        for one in asked[::5]:
            assert np.abs(logits(again, one)[0] - logits(fresh, one)[0]).max() <= MOST_DIFFERENCE
            swapped = about([7, 8], "a dog", [" Lala", " Ann"])
            other = about([8, 7], "a dog", [" Lala", " Ann"])
        assert np.abs(logits(again, swapped)[0] - logits(again, other)[0]).max() > 0.01


def test_a_second_question_reads_the_question_only(pair: tuple[Path, Path]) -> None:
    with loaded(pair) as llm:
        _, first, took = logits(llm, about([1, 2], "a dog"))
        assert first["cached"] == 0
        assert took["encode"] > 0
        _, second, took = logits(llm, about([1, 2], " Ann is a cat"))
        assert took["encode"] == 0
        assert second["prompt"] - second["cached"] <= llm.count(turns(Text(" Ann is a cat")))


def test_a_picture_is_encoded_once(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it stands in another place, and not where it only has the same size."""
    with loaded(pair) as llm:
        assert llm._vision is not None
        encoded: list[str] = []
        really = llm._vision.encode
        monkeypatch.setattr(llm._vision, "encode", lambda span: encoded.append(span.key) or really(span))
        logits(llm, about([1, 2, 1], "a"))
        logits(llm, about([2, 3, 1], "a"))
        assert len(encoded) == 3


def test_only_what_is_encoded_is_prepared(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to count its tokens, and not to read it again."""
    with loaded(pair) as llm:
        assert llm._vision is not None
        prepared: list[int] = []
        really = llm._vision.layouts.chunks

        def chunks(width: int, height: int, pixels: bytes | None) -> Chunks:
            prepared.extend([1] if pixels else [])
            return really(width, height, pixels)

        monkeypatch.setattr(llm._vision.layouts, "chunks", chunks)
        assert llm.count(about([1, 2], "a dog")) > 0
        assert prepared == []
        logits(llm, about([1, 2], "a dog"))
        logits(llm, about([2, 1], " Ann"))
        assert len(prepared) == 2


def test_the_next_process_begins_after_the_pictures(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with loaded(pair, tmp_path / "cache") as llm:
        whole = about([1, 2], "a dog")
        "".join(llm.generate(whole, Generation(max_tokens=4)))
    with loaded(pair, tmp_path / "cache") as again:
        _, tokens, took = logits(again, about([1, 2], " Ann"))
        assert took["encode"] == 0
        assert tokens["cached"] > 0.5 * tokens["prompt"]


def test_the_next_process_begins_after_the_words_that_are_kept(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the last reference, also where the memory cannot be cut."""
    opened = (Text("Hello"), picture(1), picture(2), Text(" Lala is a dog. " * 9), Text("a dog", kept=True))
    with loaded(pair, tmp_path / "cache") as llm:
        shared = llm.count(turns(*opened)) - llm.count(turns())
        logits(llm, turns(*opened, Text(" cat")))
    with loaded(pair, tmp_path / "cache") as again, loaded(pair) as fresh:
        for words in (" Ann", " Lala is"):
            asked = turns(*opened, Text(words))
            found, tokens, took = logits(again, asked)
            assert took["encode"] == 0 and shared <= tokens["cached"] < tokens["prompt"]
            assert np.abs(found - logits(fresh, asked)[0]).max() <= MOST_DIFFERENCE
            monkeypatch.setattr(again._model, "cut", lambda position: False)


def test_a_model_that_cannot_cut_goes_on_from_the_state(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with sliding windows and recurrent layers."""
    with loaded(pair) as llm, loaded(pair) as fresh:
        monkeypatch.setattr(llm._model, "cut", lambda position: False)
        logits(llm, about([1, 2], "a dog"))
        kept, tokens, took = logits(llm, about([1, 2], " Ann"))
        assert took["encode"] == 0
        assert tokens["cached"] > 0
        assert np.abs(kept - logits(fresh, about([1, 2], " Ann"))[0]).max() <= MOST_DIFFERENCE


def test_a_window_that_holds_nothing_any_more_cannot_be_cut(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp says yes to the cut, and that there is no first position."""
    with loaded(pair) as llm:
        logits(llm, about([1, 2], "a dog"))
        monkeypatch.setattr(llm._model._llama, "llama_memory_seq_pos_min", lambda memory, sequence: -1)
        assert not llm._model.cut(5) and llm._model.cut(0)


def test_a_window_that_has_lost_a_part_is_read_anew(tmp_path: Path) -> None:
    """A state holds no more than the window before its end, so nothing before that end can follow on it."""
    file = make_text_gguf(tmp_path / "llm.gguf", arch="gemma3")

    def told(times: int, last: str = " cat") -> list[Turn]:
        return turns(Text(f"{' Lala is a dog' * times}{last}", kept=True), Text(" Ann"))

    with load_llm(part(file), device(), tmp_path / "cache") as llm:
        assert llm._model._llama.llama_model_n_swa(llm._model.handle) == WINDOW
        logits(llm, told(20))
    reached = []
    for times in range(20, 12, -1):
        with (
            load_llm(part(file), device(), tmp_path / "cache") as again,
            load_llm(part(file), device()) as fresh,
        ):
            assert logits(again, told(20))[1]["cached"] > 8 * WINDOW
            memory = again._model._llama.llama_get_memory(again._model.context)
            first = again._model._llama.llama_memory_seq_pos_min(memory, 0)
            end = again.count(told(times)) - again.count(turns(Text(" Ann"))) - 1  # where they part
            reached.append((first <= end, first <= end - WINDOW))
            found, plain = (logits(llm, told(times, " Ann"))[0] for llm in (again, fresh))
            assert np.abs(found - plain).max() <= MOST_DIFFERENCE / 10
    assert {(True, False), (False, False)} <= set(reached)


def test_a_cancelled_answer_leaves_nothing_wrong(pair: tuple[Path, Path]) -> None:
    with loaded(pair) as llm, loaded(pair) as fresh:
        for _ in range(5):
            stream = llm.generate(about([1], "a dog"), Generation(max_tokens=50))
            next(stream, "")
            stream.close()
        kept = logits(llm, about([1], " Ann is"))[0]
        assert np.abs(kept - logits(fresh, about([1], " Ann is"))[0]).max() <= MOST_DIFFERENCE


def test_another_bundle_takes_nothing_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one, other = make_vision_pair(tmp_path / "one"), make_vision_pair(tmp_path / "other", seed=5)
    with loaded(one, tmp_path / "cache") as llm:
        logits(llm, about([1, 2], "a"))
    with loaded(other, tmp_path / "cache") as llm, loaded(other) as fresh:
        found, tokens, _ = logits(llm, about([1, 2], "a"))
        assert tokens["cached"] == 0
        np.testing.assert_array_equal(found, logits(fresh, about([1, 2], "a"))[0])


SETTINGS: dict[str, tuple[dict[str, int], dict[str, object]]] = {
    "context": ({"context": 896}, {}),
    "image_max_tokens": ({"image_max_tokens": 4}, {}),
    "kv_type": ({}, {"kv_type": "q8_0", "flash_attention": True}),
    "flash_attention": ({}, {"flash_attention": True}),
}


def test_another_setting_takes_nothing_of_this_one(tmp_path: Path) -> None:
    """Neither states nor embeddings, over one folder; the same setting does."""
    pair = make_vision_pair(tmp_path)
    base = part(*pair, sees="photo+references"), device()
    every = {"none": base} | {
        name: (replace(base[0], **changed), replace(base[1], **there))
        for name, (changed, there) in SETTINGS.items()
    }
    asked = about([1, 2], "a dog")
    for settings in every.values():
        with load_llm(*settings, tmp_path / "cache") as llm, load_llm(*settings) as fresh:
            found, tokens, _ = logits(llm, asked)
            assert tokens["cached"] == 0 and llm._vision is not None and llm._vision.encodes == 2
            np.testing.assert_array_equal(found, logits(fresh, asked)[0])
    for settings in every.values():
        with load_llm(*settings, tmp_path / "cache") as llm:
            assert logits(llm, asked)[1]["cached"] > 0


def test_threads_may_count_pictures_of_many_sizes(tmp_path: Path) -> None:
    """More than are kept, while others do so too."""
    pixels = np.zeros((140, 140, 3), np.uint8)
    asked = [turns(Picture(pixels[: 40 + size, :40])) for size in range(100)]
    with loaded(make_vision_pair(tmp_path)) as llm, ThreadPoolExecutor(4) as pool:
        alone = [llm.count(one) for one in asked]
        for found in pool.map(lambda seed: [llm.count(one) for one in asked], range(4)):
            assert found == alone


def blobs(folder: Path | None, memory: int = 0, disk: int = 1000) -> Blobs:
    return Blobs(folder, memory, disk)


def test_blobs_stay_under_their_caps_and_drop_the_oldest(tmp_path: Path) -> None:
    kept = blobs(tmp_path, memory=250, disk=350)
    for number in range(5):
        kept.put(f"{number}", bytes([number]) * 100)
        kept.flush()
        assert 100 < sum(file.stat().st_size for file in tmp_path.iterdir()) <= 350
    for number in range(5):
        kept.put(f"{number}", bytes([number]) * 100)
    kept.flush()  # more at once than fits
    assert 200 < sum(file.stat().st_size for file in tmp_path.iterdir()) <= 350
    fresh = blobs(tmp_path)
    assert fresh.get("4") == b"\4" * 100
    assert fresh.get("0") is None
    assert kept._held <= 250


def test_memory_holds_no_more_than_its_cap() -> None:
    """Two of three, of which the one used last stays; and with room made for one more, one."""
    kept = blobs(None, memory=250)
    for key in "ab":
        kept.put(key, key.encode() * 100)
    assert kept.get("a") == b"a" * 100
    kept.put("c", b"c" * 100)
    assert [kept.get(key) for key in "bac"] == [None, b"a" * 100, b"c" * 100]
    kept.put("c", b"c" * 150)  # in the place of the other one
    assert kept.get("a") == b"a" * 100
    assert kept.make_room(150)
    assert [kept.get(key) for key in "ca"] == [None, b"a" * 100]


def test_a_damaged_blob_counts_as_absent(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for turn in range(30):
        writer = blobs(tmp_path)
        writer.put("a", b"some embeddings" * 5)
        writer.flush()
        (file,) = tmp_path.iterdir()
        data = bytearray(file.read_bytes())
        if turn % 3 == 0:
            data = data[: int(rng.integers(0, len(data)))]
        elif turn % 3 == 1:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        else:
            data += b"more"
        file.write_bytes(data)
        assert blobs(tmp_path).get("a") is None
        assert not file.exists()


def test_without_a_disk_blobs_stay_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    kept = blobs(tmp_path / "file" / "below", memory=1000)
    kept.put("a", b"1")
    kept.flush()
    assert kept.get("a") == b"1"
    assert blobs(None).get("a") is None


def test_clear_leaves_no_file(tmp_path: Path) -> None:
    kept = blobs(tmp_path, memory=1000)
    kept.put("a", b"1")
    kept.flush()
    kept.put("b", b"2")
    kept.clear()
    kept.flush()
    assert kept.get("a") is None and kept.get("b") is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_removed_is_not_filled_again(tmp_path: Path) -> None:
    """Forgetting removes it; another process still has in memory what was forgotten."""
    folder = tmp_path / "pictures"
    kept = blobs(folder, memory=1000)
    kept.put("a", b"1")
    kept.flush()
    kept.put("b", b"of the forgotten")
    shutil.rmtree(folder)
    kept.flush()
    assert not folder.exists()
    fresh = blobs(folder)
    kept.put("c", b"of the forgotten")
    kept.flush()
    assert list(folder.iterdir()) == [] and fresh.get("c") is None
    assert kept.get("c") == b"of the forgotten"
