"""The language model room: its contract with llama.cpp, limits, threads, memory, damaged files."""

from __future__ import annotations

import ctypes
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import kinsight.llm
from kinsight.errors import ModelError
from kinsight.llm import Generation, Llm, Text, Turn, load_llm
from kinsight.llm.native import library
from talkers import CONTEXT, HELLO, NEEDS_LLAMA_CPP, SENTENCE, device, part, picture, say, talker
from tiny_gguf import make_text_gguf

pytestmark = NEEDS_LLAMA_CPP
X86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.fixture(scope="module")
def sentence_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_text_gguf(tmp_path_factory.mktemp("sentence") / "llm.gguf", SENTENCE)


@pytest.fixture(scope="module")
def sentence(sentence_file: Path) -> Iterator[Llm]:
    """Says "Lala is a dog." to everything."""
    with load_llm(part(sentence_file), device()) as llm:
        yield llm


# The contract with llama-cpp-python: every symbol that is called, and how many arguments it takes.

CALLS = {
    "llama_backend_init": 0,
    "llama_batch_free": 1,
    "llama_batch_init": 3,
    "llama_context_default_params": 0,
    "llama_batch_get_one": 2,
    "llama_decode": 2,
    "llama_free": 1,
    "llama_get_logits_ith": 2,
    "llama_get_memory": 1,
    "llama_init_from_model": 2,
    "llama_log_set": 2,
    "llama_memory_clear": 2,
    "llama_memory_seq_pos_min": 2,
    "llama_memory_seq_rm": 4,
    "llama_model_chat_template": 2,
    "llama_model_default_params": 0,
    "llama_model_free": 1,
    "llama_model_get_vocab": 1,
    "llama_model_load_from_file": 2,
    "llama_model_n_embd_inp": 1,
    "llama_model_n_swa": 1,
    "llama_sampler_accept": 2,
    "llama_sampler_apply": 2,
    "llama_sampler_free": 1,
    "llama_sampler_init_grammar": 3,
    "llama_state_seq_get_data": 4,
    "llama_state_seq_get_size": 2,
    "llama_state_seq_set_data": 4,
    "llama_token_to_piece": 6,
    "llama_tokenize": 7,
    "llama_vocab_bos": 1,
    "llama_vocab_eos": 1,
    "llama_vocab_get_add_bos": 1,
    "llama_vocab_get_attr": 2,
    "llama_vocab_get_text": 2,
    "llama_vocab_is_control": 2,
    "llama_vocab_is_eog": 2,
    "llama_vocab_n_tokens": 1,
    "mtmd_bitmap_free": 1,
    "mtmd_bitmap_init": 3,
    "mtmd_context_params_default": 0,
    "mtmd_decode_use_non_causal": 2,
    "mtmd_encode_chunk": 2,
    "mtmd_free": 1,
    "mtmd_get_output_embd": 1,
    "mtmd_helper_decode_image_chunk": 10,
    "mtmd_helper_log_set": 2,
    "mtmd_init_from_file": 3,
    "mtmd_input_chunk_get_n_pos": 1,
    "mtmd_input_chunk_get_n_tokens": 1,
    "mtmd_input_chunk_get_tokens_text": 2,
    "mtmd_input_chunk_get_type": 1,
    "mtmd_input_chunks_free": 1,
    "mtmd_input_chunks_get": 2,
    "mtmd_input_chunks_init": 0,
    "mtmd_input_chunks_size": 1,
    "mtmd_support_vision": 1,
    "mtmd_tokenize_from_parts": 5,
}
FIELDS = {
    "llama_batch": ("logits", "n_seq_id", "n_tokens", "pos", "seq_id", "token"),
    "llama_context_params": (
        *("n_ctx", "n_batch", "n_ubatch", "n_outputs_max", "n_threads", "n_threads_batch"),
        *("flash_attn_type", "type_k", "type_v"),
    ),
    "llama_model_params": ("load_mode", "n_gpu_layers", "use_extra_bufts"),
    "llama_token_data": ("id", "logit", "p"),
    "llama_token_data_array": ("data", "size", "selected", "sorted"),
    "mtmd_context_params": ("image_max_tokens", "n_threads", "use_gpu"),
    "mtmd_input_part": ("text", "bitmap"),
    "mtmd_input_text": ("text", "text_len", "add_special", "parse_special"),
}
OTHERS = {"llama_cpp", "llama_log_callback", "llama_pos", "llama_token", "mtmd_cpp"}
OTHERS |= {"llama_grammar", "llama_token_data", "llama_token_data_array"}
OTHERS |= {"mtmd_helper_post_decode_callback", "mtmd_input_part", "mtmd_input_text"}


def home(name: str) -> ModuleType:
    module: ModuleType = library().mtmd if name.startswith("mtmd_") else library().llama
    return module


@pytest.mark.parametrize(("name", "arguments"), CALLS.items())
def test_every_symbol_that_is_called_takes_as_many_arguments(name: str, arguments: int) -> None:
    assert len(getattr(home(name), name).argtypes) == arguments


@pytest.mark.parametrize(("name", "fields"), FIELDS.items())
def test_every_structure_has_the_fields_that_are_used(name: str, fields: tuple[str, ...]) -> None:
    there = [field[0] for field in getattr(home(name), name)._fields_]
    assert set(fields) <= set(there)
    if name.startswith(("mtmd_input", "llama_token_data")):
        assert there == list(fields)  # filled by position


def test_the_contract_lists_all_that_is_called() -> None:
    sources = Path(kinsight.llm.__file__).parent.glob("*.py")
    used = {
        name
        for source in sources
        for name in re.findall(r"\.((?:llama|mtmd)_\w+)", source.read_text("utf-8"))
    }
    assert used - OTHERS == set(CALLS)


def test_on_other_processors_the_file_is_read_and_not_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with talker(tmp_path) as mapped:
        expected = say(mapped)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with talker(tmp_path) as held:
        maps = Path("/proc/self/maps")
        assert not maps.exists() or str(tmp_path) not in maps.read_text()
        assert say(held) == expected


@pytest.mark.parametrize(("mmap", "mapped"), [(True, True), (False, False), (None, X86)])
def test_weights_are_mapped_from_their_file_or_read(tmp_path: Path, mmap: bool | None, mapped: bool) -> None:
    file = make_text_gguf(tmp_path / "llm.gguf", SENTENCE)
    with load_llm(part(file), replace(device(), mmap=mmap)) as llm:
        assert (str(file) in Path("/proc/self/maps").read_text()) == mapped
        assert say(llm) == "Lala is a dog."


def test_without_the_package_the_room_imports_and_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['llama_cpp'] = None\n"
        "import kinsight.llm, kinsight.errors\n"
        "try: kinsight.llm.load_llm(None, None)\n"
        "except kinsight.errors.MissingPackage as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "llama-cpp-python is not installed: pip install 'llama-cpp-python==0.3.36'\n"


def test_the_room_imports_llama_cpp_late() -> None:
    program = "import sys, kinsight.llm; assert not {'llama_cpp', 'jinja2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


# Limits, cancelling, threads, memory


def test_a_prompt_that_does_not_fit_is_refused_with_its_numbers(sentence: Llm) -> None:
    turns = [Turn("user", (Text("a" * 950),))]
    tokens = sentence.count(turns)
    with pytest.raises(
        ModelError, match=rf"takes {tokens} tokens and the answer up to 100, but only 1024 fit: shorten"
    ):
        sentence.generate(turns, Generation(max_tokens=100))
    assert "".join(sentence.generate(turns, Generation(max_tokens=CONTEXT - tokens))) == "Lala is a dog."
    with pytest.raises(ModelError, match="and the answer up to"):
        sentence.generate(turns, Generation(max_tokens=CONTEXT - tokens + 1))
    with pytest.raises(ModelError, match=r"has 1000000 bytes of text, but only 1024 tokens fit"):
        sentence.generate([Turn("user", (Text("a" * 1_000_000),))])
    assert say(sentence) == "Lala is a dog."


def test_a_cancelled_answer_leaves_the_model_usable(sentence: Llm) -> None:
    stream = sentence.generate(HELLO)
    assert next(stream) == "Lala"
    stream.close()
    assert (list(stream), stream.ended) == ([], "")
    next(sentence.generate(HELLO))  # dropped
    assert say(sentence) == "Lala is a dog."


def test_one_thread_reads_one_answer_at_a_time(sentence: Llm) -> None:
    first = sentence.generate(HELLO)
    next(first)
    with pytest.raises(ModelError, match="still being read: read it to its end, or close it"):
        say(sentence)
    assert "".join(first) == " is a dog."
    assert say(sentence) == "Lala is a dog."


def test_threads_wait_for_each_other(seeing: Llm) -> None:
    asked = [
        [Turn("user", (Text(text), picture(seed)))] for seed, text in enumerate(("Hello", "Lala", "a dog"))
    ]
    options = Generation(max_tokens=12)
    alone = ["".join(seeing.generate(turns, options)) for turns in asked]
    together: dict[int, list[str]] = {}

    def ask(number: int) -> None:
        together[number] = ["".join(seeing.generate(asked[number], options)) for _ in range(5)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(alone)) == 3
    assert together == {number: [text] * 5 for number, text in enumerate(alone)}


def test_a_closed_model_says_so(sentence_file: Path) -> None:
    with load_llm(part(sentence_file), device()) as llm:
        stream = llm.generate(HELLO)
        next(stream)
    llm.close()
    with pytest.raises(ModelError, match="was closed: load it again"):
        next(stream)
    with pytest.raises(ModelError, match="was closed"):
        llm.count(HELLO)


class MallInfo(ctypes.Structure):
    """glibc's mallinfo2."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="counts bytes with glibc's mallinfo2")
def test_loading_and_closing_leaks_nothing(pair: tuple[Path, Path]) -> None:
    count = ctypes.CDLL(None).mallinfo2
    count.restype = MallInfo
    turns = [Turn("user", (picture(1, (300, 300)), picture(2), picture(3), picture(4)))]
    closed = []

    def grown(times: int) -> int:
        """Bytes that are in use afterwards and were not before."""
        before = count()
        for _ in range(times):
            with load_llm(part(*pair, sees="photo"), device()) as llm:
                llm.count(turns)
                next(llm.generate(turns))
            closed.append(llm)
        after = count()
        return int(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd)

    grown(5)
    assert grown(20) < 20 * 20_000  # the objects of Python; four prepared pictures take 49,000


# Files that do not load


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda _: b"", "failed to read magic"),
    (lambda _: b"I am a text\n" * 99, "invalid magic characters"),
    (lambda data: data[:100], "failed to read key-value pairs"),
    (half, "corrupted or incomplete|failed to seek"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES, ids=["empty", "text", "header", "half"])
@pytest.mark.parametrize("which", [0, 1], ids=["llm", "mmproj"])
def test_a_damaged_file_is_one_sentence(
    pair: tuple[Path, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    which: int,
    damage: Callable[[bytes], bytes],
    reason: str,
) -> None:
    files = [tmp_path / "llm.gguf", tmp_path / "mmproj.gguf"]
    for number, file in enumerate(files):
        data = pair[number].read_bytes()
        file.write_bytes(damage(data) if number == which else data)
    with pytest.raises(
        ModelError, match=rf"^{files[which].name} cannot be loaded \(.*({reason}).*\): restore the bundle"
    ):
        load_llm(part(files[0], files[1], "photo"), device())
    assert capfd.readouterr() == ("", "")


def test_missing_and_swapped_files_are_one_sentence(
    pair: tuple[Path, Path], sentence_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"none.gguf cannot be loaded \(.*(No such file|failed to open)"):
        load_llm(part(tmp_path / "none.gguf"), device())
    with pytest.raises(ModelError, match="CLIP cannot be used as main model"):
        load_llm(part(pair[1]), device())
    with pytest.raises(ModelError, match=r"llm.gguf cannot be loaded"):
        load_llm(part(pair[0], sentence_file, sees="photo"), device())


def test_llama_cpp_is_silent(pair: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    with load_llm(part(*pair, sees="photo"), device()) as llm:
        "".join(llm.generate([Turn("user", (picture(1),))], Generation(max_tokens=3)))
    assert capfd.readouterr() == ("", "")


def test_the_device_config_chooses_the_cache(sentence_file: Path) -> None:
    with load_llm(part(sentence_file), device("q8_0", flash_attention=True)) as llm:
        assert say(llm) == "Lala is a dog."
    with pytest.raises(
        ModelError, match=r"cannot be started with 1024 tokens \(.*flash_attn.*\): .* device config"
    ):
        load_llm(part(sentence_file), device("q8_0", flash_attention=False))
