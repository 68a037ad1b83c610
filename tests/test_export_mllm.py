"""MLLMs of every type from the libraries' own configs: exported, judged, run; sabotage refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("llama_cpp")
peft = pytest.importorskip("peft")

from gguf import GGUFReader, GGUFWriter
from safetensors.torch import load_file, save_file

from kinsight.bundle import LlmPart
from kinsight.config import DeviceConfig
from kinsight.errors import ConfigError, KinsightError, ModelError, ParityError
from kinsight.llm import Generation, Picture, Text, Turn, load_llm
from kinsight_export.cli import main
from kinsight_export.gate import Report
from kinsight_export.gate.pictures import scenes
from kinsight_export.gguf_file import converter, to_pair
from kinsight_export.mllm.checkpoint import Words, network
from kinsight_export.mllm.device import Device
from kinsight_export.mllm.exam import WORDS, answers_of, prompts_of
from kinsight_export.mllm.judging import AS_CONVERTED, judge
from kinsight_export.mllm.making import Workshop, make_mllm
from kinsight_export.mllm.order import MllmOrder, ShapeOrder
from kinsight_export.mllm.pair import probe
from kinsight_export.mllm.shapes import SHAPES, Shape, write_shape
from kinsight_export.mllm.source import Source, loaded
from kinsight_export.mllm.vocabulary import PRETOKENIZER
from kinsight_export.parts import LlmSpec, read_part
from tiny_checkpoints import TINY, tiny_checkpoint

pytestmark = pytest.mark.train

CACHE = Path(__file__).parents[1] / "build" / "converter"
ONE_THREAD = DeviceConfig("test", (), 1, 4096)
MUST = ("idefics3", "gemma3", "qwen2_5_vl", "lfm2_vl")
Damage = Callable[["Pair"], None]


@dataclass(frozen=True)
class Pair:
    """A checkpoint and the files made of it."""

    checkpoint: Path
    llm: Path
    mmproj: Path

    def part(self, tokens: int, context: int = 2048) -> LlmPart:
        return LlmPart(
            self.llm, "", self.mmproj, None, "photo+references", context, 3, tokens, (), "a smoke question"
        )

    def judged(self, adapter: Path | None = None) -> Report:
        """The gate's report about files as they were converted."""
        source = Source(self.checkpoint, adapter)
        part = self.part(source.frame.tokens)
        with Device(part, ONE_THREAD) as device:
            answers = answers_of(source, device, prompts_of(source, scenes(8)))
            return judge(answers, device, part, AS_CONVERTED)

    def copy(self, folder: Path) -> Pair:
        """The same files once more, to be damaged."""
        return Pair(self.checkpoint, *(Path(shutil.copy(file, folder)) for file in (self.llm, self.mmproj)))


Pairs = Callable[[str], Pair]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    """Kind -> its pair, made once."""
    if not CACHE.is_dir():
        pytest.skip("build/converter is empty: kinsight_export.gguf_file.converter fills it")
    torch.set_num_threads(1)
    made: dict[str, Pair] = {}

    def pair(kind: str) -> Pair:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            checkpoint = tiny_checkpoint(kind, folder / "tiny")
            llm, mmproj = folder / "llm.gguf", folder / "mmproj.gguf"
            to_pair(checkpoint, {"f16": mmproj}, llm, converter(CACHE), PRETOKENIZER)
            made[kind] = Pair(checkpoint, llm, mmproj)
        return made[kind]

    return pair


@pytest.mark.parametrize("kind", [*MUST, "qwen3_vl"])
def test_the_file_says_what_the_source_says(pairs: Pairs, kind: str) -> None:
    report = pairs(kind).judged().require()
    figures = {check.name: check.figure for check in report.checks}
    assert figures["tokens"] == 0
    assert figures["pictures"] < 0.005
    assert figures["same first token"] >= 0.99
    assert figures["divergence"] < 1e-4
    assert abs(figures["perplexity"] - 1) < 0.005
    assert figures["control"] > 0.1


@pytest.mark.parametrize("kind", MUST)
def test_the_runtime_answers_about_a_picture(pairs: Pairs, kind: str) -> None:
    turns = [Turn("user", (Picture(scenes(1)[0]), Text("Who is this?")))]
    with load_llm(pairs(kind).part(96), ONE_THREAD) as llm:
        stream = llm.generate(turns, Generation(max_tokens=2))
        "".join(stream)
        blind = llm.count([Turn("user", (Text("Who is this?"),))])
    assert stream.ended in ("stop", "length")
    assert stream.usage.tokens["prompt"] >= blind + 16
    assert stream.usage.timings_ms["encode"] > 0


def edited(file: Path, name: str, change: Callable[[Any], None]) -> None:
    """One tensor of a GGUF file changed in place."""
    tensor = next(each for each in GGUFReader(file, "r+").tensors if each.name == name)
    change(tensor.data)
    tensor.data.flush()


def zeroed(data: Any) -> None:
    data[:] = 0


def zero_a_layer(pair: Pair) -> None:
    edited(pair.llm, "blk.1.ffn_down.weight", zeroed)


def zero_an_eye(pair: Pair) -> None:
    edited(pair.mmproj, "v.blk.1.ffn_up.weight", zeroed)


def turn_the_channels(pair: Pair) -> None:
    """Qwen2.5-VL has a kernel for each of two moments; LFM2-VL's is stored flat, channel after channel."""

    def turn(data: Any) -> None:
        channels = data.reshape(len(data), 3, -1)
        channels[:] = channels[:, ::-1].copy()

    for name in ("v.patch_embd.weight", "v.patch_embd.weight.1"):
        if name in {tensor.name for tensor in GGUFReader(pair.mmproj).tensors}:
            edited(pair.mmproj, name, turn)


def set_numbers(name: str, value: float) -> Damage:
    def damage(pair: Pair) -> None:
        reader = GGUFReader(pair.mmproj, "r+")
        field = reader.fields[f"clip.vision.image_{name}"]
        for row in field.data:
            field.parts[row][0] = value
        reader.data.flush()

    return damage


def forget_to_open_the_answer(pair: Pair) -> None:
    """The template in the file asks for a word that nobody says, of the same length."""
    whole = pair.llm.read_bytes()
    assert whole.count(b"if add_generation_prompt") == 1
    pair.llm.write_bytes(whole.replace(b"if add_generation_prompt", b"if add_generation_promise"[:24]))


def end_at_a_word(pair: Pair) -> None:
    """The file calls a piece of text the end of a sequence."""
    reader = GGUFReader(pair.llm, "r+")
    names = reader.fields["tokenizer.ggml.tokens"]
    word = next(row for row, at in enumerate(names.data) if bytes(names.parts[at]) == b"e")
    reader.fields["tokenizer.ggml.eos_token_id"].parts[-1][0] = word
    reader.data.flush()


SABOTAGE: dict[str, tuple[Damage, str, str]] = {
    "a layer": (zero_a_layer, "divergence", "blk.1.ffn_down.weight in llm.gguf holds nothing but zeros"),
    "an eye": (zero_an_eye, "pictures", "v.blk.1.ffn_up.weight in mmproj.gguf holds nothing but zeros"),
    "channels": (turn_the_channels, "pictures", "red and blue are exchanged"),
    "mean": (set_numbers("mean", 0.1), "pictures", "another mean in the mmproj: 0.1, 0.1, 0.1 instead of 0."),
    "template": (forget_to_open_the_answer, "chat template", "another chat template: it writes '"),
    "stop": (end_at_a_word, "ends of answers", "another token ends an answer: it ends at 'e', where the s"),
    "std": (set_numbers("std", 1.0), "pictures", "another std in the mmproj: 1, 1, 1 instead of 0."),
}


@pytest.mark.parametrize("kind", MUST)
@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_is_refused_and_pointed_at(pairs: Pairs, tmp_path: Path, kind: str, name: str) -> None:
    damage, check, points_at = SABOTAGE[name]
    pair = pairs(kind).copy(tmp_path)
    damage(pair)
    report = pair.judged()
    with pytest.raises(ParityError, match=re.escape(points_at)):
        report.require()
    assert next(report.broken()).name == check


def blind(checkpoint: Path, folder: Path) -> Pair:
    """A checkpoint whose pictures all look the same to its language model, and the files made of it."""
    other = Path(shutil.copytree(checkpoint, folder / "blind"))
    weights = load_file(other / "model.safetensors")
    (last,) = (name for name in weights if name.endswith("merger.mlp.2.weight"))
    weights[last] = weights[last] * 1e-4
    bias = last.replace("weight", "bias")
    weights[bias] = torch.linspace(-1, 1, weights[bias].numel(), dtype=weights[bias].dtype)
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    files = folder / "llm.gguf", folder / "mmproj.gguf"
    to_pair(other, {"f16": files[1]}, files[0], converter(CACHE), PRETOKENIZER)
    return Pair(other, *files)


def test_a_model_that_pictures_do_not_reach_is_refused(pairs: Pairs, tmp_path: Path) -> None:
    """The file is what its source is, and neither looks; so is a pair whose source is not at hand."""
    pair = blind(pairs("qwen2_5_vl").checkpoint, tmp_path)
    report = pair.judged()
    assert [check.name for check in report.broken()] == ["control"]
    with pytest.raises(ParityError, match="probably the pictures do not reach the language model"):
        report.require()
    with pytest.raises(ParityError, match=r"control, .* the pictures do not reach the language model"):
        make_mllm(order_of(None, tmp_path / "part", pair.llm, pair.mmproj), workshop())
    assert not (tmp_path / "part").exists()


def test_a_source_that_ends_its_answers_elsewhere_is_pointed_at(pairs: Pairs, tmp_path: Path) -> None:
    """A checkpoint whose own settings end an answer at a word, which its file does not know."""
    pair = pairs("qwen2_5_vl")
    checkpoint = Path(shutil.copytree(pair.checkpoint, tmp_path / "other"))
    word = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]["e"]
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": [word]}), "utf-8")
    report = Pair(checkpoint, pair.llm, pair.mmproj).judged()
    with pytest.raises(ParityError, match="it goes on after 'e', where the source ends"):
        report.require()


def test_a_file_without_its_chat_template_is_refused(pairs: Pairs, tmp_path: Path) -> None:
    pair = pairs("idefics3").copy(tmp_path)
    whole = pair.llm.read_bytes()
    assert whole.count(b"tokenizer.chat_template") == 1
    pair.llm.write_bytes(whole.replace(b"tokenizer.chat_template", b"tokenizer.chat_templite"))
    with pytest.raises(ParityError, match="another chat template: there is none in the file"):
        pair.judged().require()


def test_the_command_shows_the_verdict_and_fails_with_it(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pair of somebody else is held against its checkpoint: taken over as it is, refused once damaged."""
    monkeypatch.setenv("KINSIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    pair = pairs("idefics3").copy(tmp_path)
    files = ["--gguf", str(pair.llm), "--mmproj", str(pair.mmproj), "--out", str(tmp_path / "part")]
    words = ["mllm", str(pair.checkpoint), *files, "--licence", "Apache-2.0", "--threads", "1"]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code
    assert "kinsight-export bundle --llm takes it" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "part")
    zero_a_layer(pair)
    with pytest.raises(SystemExit) as left:
        main([*words, "--plot", str(tmp_path / "verdict.png")])
    shown = capsys.readouterr()
    assert left.value.code == 1
    assert "broken" in shown.out
    assert "probably a layer is lost: blk.1.ffn_down.weight in llm.gguf holds nothing but zeros" in shown.err
    assert (tmp_path / "verdict.png").is_file()
    assert not (tmp_path / "part").exists()


def test_another_tokenizer_is_refused_and_pointed_at(pairs: Pairs, tmp_path: Path) -> None:
    """The vocabulary of a file has two pieces exchanged."""
    checkpoint = Path(shutil.copytree(pairs("qwen2_5_vl").checkpoint, tmp_path / "other"))
    words = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    vocabulary = words["model"]["vocab"]
    vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]
    (checkpoint / "tokenizer.json").write_text(json.dumps(words), "utf-8")
    files = tmp_path / "llm.gguf", tmp_path / "mmproj.gguf"
    to_pair(checkpoint, {"f16": files[1]}, files[0], converter(CACHE), PRETOKENIZER)
    report = Pair(pairs("qwen2_5_vl").checkpoint, *files).judged()
    with pytest.raises(ParityError, match=r"another tokenizer.* is read as \[.* instead of \["):
        report.require()


def order_of(
    checkpoint: Path | None, out: Path, gguf: Path | None = None, mmproj: Path | None = None
) -> MllmOrder:
    """An order of weights of our own."""
    return MllmOrder(checkpoint, out, gguf, mmproj, pretokenizer=PRETOKENIZER, licence="Apache-2.0")


def workshop(said: list[str] | None = None) -> Workshop:
    say = (said if said is not None else []).append
    return Workshop(lambda: converter(CACHE), ONE_THREAD, ONE_THREAD, scenes(8), say)


def test_a_checkpoint_becomes_a_part(pairs: Pairs, tmp_path: Path) -> None:
    """Candidates are made, judged and timed; what is written is what was chosen, with its figures."""
    order = order_of(pairs("gemma3").checkpoint, tmp_path / "part")
    made = make_mllm(order, workshop())
    part = read_part(tmp_path / "part")
    assert isinstance(part.spec, LlmSpec)
    assert (part.spec.sees, part.spec.image_max_tokens, part.spec.max_references) == (
        "photo+references",
        16,
        3,
    )
    assert {report.part for report in made.reports} == {"llm", "llm_converted"}
    assert part.parity["llm"]["divergence"]["verdict"] == "kept"
    table = part.parity["llm_candidates"]
    assert list(table) == ["f16", "Q8_0", "Q4_K_M"]
    assert sorted(row["verdict"] == "chosen" for row in table.values()) == [False, False, True]
    assert table["Q4_K_M"]["divergence"] > table["Q8_0"]["divergence"] > table["f16"]["divergence"]
    with load_llm(
        replace(pairs("gemma3").part(16), file=part.spec.file, mmproj=part.spec.mmproj), ONE_THREAD
    ) as llm:
        assert llm.count([Turn("user", (Text("Lala"),))]) > 0


def test_a_pair_that_is_there_is_taken_over(pairs: Pairs, tmp_path: Path) -> None:
    pair = pairs("qwen3_vl")
    made = make_mllm(
        replace(order_of(None, tmp_path / "part", pair.llm, pair.mmproj), image_max_tokens=48), workshop()
    )
    part = read_part(tmp_path / "part")
    assert isinstance(part.spec, LlmSpec)
    assert (part.spec.context, part.spec.image_max_tokens) == (1024, 48)  # the model's own, and as asked
    assert any("<|vision_start|> and <|vision_end|>" in note for note in made.notes)
    assert part.parity["llm"]["control"]["figure"] > 0.1


def test_a_pair_with_a_dead_weight_is_not_taken_over(pairs: Pairs, tmp_path: Path) -> None:
    pair = pairs("idefics3").copy(tmp_path)
    zero_a_layer(pair)
    with pytest.raises(ParityError, match=r"blk\.1\.ffn_down\.weight"):
        make_mllm(order_of(None, tmp_path / "part", pair.llm, pair.mmproj), workshop())
    assert not (tmp_path / "part").exists()


def test_a_pair_that_breaks_llama_cpp_down_is_one_sentence(pairs: Pairs) -> None:
    """A model without the tokens around pictures ends the process in which it is tried, and no other one."""
    wrong = Pair(pairs("idefics3").checkpoint, pairs("qwen2_5_vl").llm, pairs("idefics3").mmproj)
    with pytest.raises(ModelError):
        probe(wrong.part(16))


def adapter_of(checkpoint: Path, folder: Path, seed: int | None) -> Path:
    """A LoRA adapter on attention and feed-forward; without a seed it changes nothing."""
    net = loaded(checkpoint)
    targets = r".*language_model.*\.(q_proj|v_proj|down_proj)"
    wrapped = peft.get_peft_model(net, peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    if seed is not None:
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in wrapped.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.1, generator=draw)
    wrapped.save_pretrained(folder)
    return folder


def test_an_adapter_is_merged_and_held_against_itself(pairs: Pairs, tmp_path: Path) -> None:
    checkpoint = pairs("qwen2_5_vl").checkpoint
    adapter = adapter_of(checkpoint, tmp_path / "adapter", 5)
    order = replace(order_of(checkpoint, tmp_path / "part"), adapter=adapter)
    order.quantise, order.adapter_gguf = ("Q8_0",), tmp_path / "lora.gguf"
    made = make_mllm(order, workshop())
    reports = {report.part: report for report in made.reports}
    beside = {check.name: check.figure for check in reports["llm_adapter"].checks}
    assert beside["same first token"] >= 0.99  # the adapter's own file, which llama.cpp adds to its base
    assert beside["divergence"] < 1e-4
    names = {tensor.name for tensor in GGUFReader(tmp_path / "lora.gguf").tensors}
    assert {"blk.0.attn_q.weight.lora_a", "blk.2.ffn_down.weight.lora_b"} <= names
    checks = {check.name: check for check in reports["llm_converted"].checks}
    assert checks["same first token"].figure >= 0.99
    assert checks["divergence"].figure < 1e-4
    assert checks["adapter"].figure > 0.1
    unmerged = pairs("qwen2_5_vl").judged(adapter)
    assert "divergence" in [check.name for check in unmerged.broken()]


def test_an_adapter_that_changes_nothing_is_refused(pairs: Pairs, tmp_path: Path) -> None:
    checkpoint = pairs("qwen2_5_vl").checkpoint
    report = pairs("qwen2_5_vl").judged(adapter_of(checkpoint, tmp_path / "adapter", None))
    with pytest.raises(ParityError, match="the adapter changes nothing"):
        report.require()


def test_a_shape_has_the_size_of_the_model_that_it_stands_for() -> None:
    """Parameters in millions, as their makers publish them."""
    counts = {}
    for name, shape in SHAPES.items():
        with torch.device("meta"):
            net = network(shape.architecture, Words(shape.vocabulary, lambda piece: 1, lambda folder: None))
        net.tie_weights()
        counts[name] = round(sum(weight.numel() for weight in net.parameters()) / 1e6)
    assert counts == {"smolvlm-256m": 256, "smolvlm-500m": 507, "qwen3-vl-2b": 2128}


def vocabulary_file(tokenizer: Path, out: Path) -> Path:
    """The vocabulary of a tokenizer.json as a GGUF file, as SmolLM2's has it."""
    words = json.loads(tokenizer.read_text("utf-8"))["model"]
    writer = GGUFWriter(out, "llama")
    writer.add_token_list(sorted(words["vocab"], key=words["vocab"].get))
    writer.add_token_types([1] * len(words["vocab"]))
    writer.add_token_merges([" ".join(merge) for merge in words["merges"]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return out


def test_a_shape_is_a_bundle_that_runs(pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a shape, at a tiny size: a vocabulary out of a GGUF file, seeded weights, pocket's parts."""
    pair = pairs("idefics3")
    words = vocabulary_file(pair.checkpoint / "tokenizer.json", tmp_path / "words.gguf")
    row = Shape(TINY["idefics3"], 500, "float32", "Q8_0", "q8_0", 16, ("<end_of_utterance>",))
    monkeypatch.setitem(SHAPES, "tiny", row)
    order = ShapeOrder("tiny", tmp_path / "out", vocabulary=words)
    bundle = write_shape(order, lambda: converter(CACHE), print)
    assert bundle.llm is not None
    assert (bundle.name, bundle.world, bundle.llm.image_max_tokens) == ("tiny-shape", "drawn", 16)
    with load_llm(bundle.llm, ONE_THREAD) as llm:
        assert llm.count([Turn("user", (Text("Lala"),))]) > 0
    with Device(bundle.llm, ONE_THREAD) as device:
        assert len(device.words) == 500
        for text in WORDS:
            assert device.words.tokens(Text(text)) == Source(pair.checkpoint).tokens(Text(text))
    with pytest.raises(ConfigError, match="there is no shape 'huge': choose one of smolvlm-256m"):
        write_shape(ShapeOrder("huge", tmp_path / "none"), lambda: converter(CACHE), print)


Spoil = Callable[[Path], object]


def set_config(**values: object) -> Spoil:
    def spoil(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **values}), "utf-8")

    return spoil


def no_numbers(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text("{}", "utf-8")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"holds no checkpoint: name a folder with"),
        (
            lambda folder: (folder / "config.json").write_text("{"),
            r"a config that transformers does not read",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").unlink(),
            r"has no preprocessor_config.json.*copy it",
        ),
        (no_numbers, r"preprocessor_config.json says no image_mean and image_std .*: copy it"),
        (
            set_config(model_type="llava"),
            r"is of the type llava, which cannot be compared .*: use one of the types",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), r"holds no weights: fetch its .safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), r"llama.cpp cannot convert"),
    ],
)
def test_a_bad_checkpoint_is_one_sentence(pairs: Pairs, tmp_path: Path, spoil: Spoil, sentence: str) -> None:
    checkpoint = Path(shutil.copytree(pairs("qwen2_5_vl").checkpoint, tmp_path / "bad"))
    spoil(checkpoint)
    with pytest.raises(ModelError, match=sentence) as found:
        make_mllm(order_of(checkpoint, tmp_path / "part"), workshop())
    assert "\n" not in str(found.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_a_vocabulary_that_nobody_knows_is_one_sentence(pairs: Pairs, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="say how it cuts text into words with --pretokenizer"):
        make_mllm(
            replace(order_of(pairs("lfm2_vl").checkpoint, tmp_path / "part"), pretokenizer=""), workshop()
        )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((), "there is nothing to export: name a checkpoint"),
        (("llm",), "belong together: pass both --gguf and --mmproj"),
        (("llm", "none"), "there is no file"),
        (("llm", "llm"), "is no picture encoder: give the mmproj"),
        (("config", "mmproj"), r"cannot be loaded \(.*\): get the file again, or export it again"),
    ],
)
def test_a_bad_pair_is_one_sentence(
    pairs: Pairs, tmp_path: Path, given: tuple[str, ...], sentence: str
) -> None:
    pair = pairs("qwen2_5_vl")
    names = {"llm": pair.llm, "mmproj": pair.mmproj, "none": tmp_path / "none.gguf"}
    names["config"] = pair.checkpoint / "config.json"
    files = [names[name] for name in given]
    order = order_of(None, tmp_path / "part", *files)
    with pytest.raises(KinsightError, match=sentence):
        make_mllm(order, workshop())


def test_a_model_that_is_too_big_for_the_device_is_not_written(pairs: Pairs, tmp_path: Path) -> None:
    pair = pairs("qwen2_5_vl")
    shop = replace(workshop(), device=replace(ONE_THREAD, memory_mb=1))
    with pytest.raises(ModelError, match="memory_mb of the device config"):
        make_mllm(order_of(None, tmp_path / "part", pair.llm, pair.mmproj), shop)
    assert not (tmp_path / "part").exists()


def test_weights_of_which_nobody_says_the_licence_are_not_exported(pairs: Pairs, tmp_path: Path) -> None:
    order = replace(order_of(pairs("gemma3").checkpoint, tmp_path / "part"), licence=None)
    with pytest.raises(ConfigError, match="nobody says under which licence tiny is: pass --licence"):
        make_mllm(order, workshop())
    with pytest.raises(
        ConfigError, match=r"tiny is under gemma, .*: pass --accept gemma if you will keep it"
    ):
        make_mllm(replace(order, licence="gemma"), workshop())


def test_what_a_card_or_a_file_states_is_not_named_otherwise(pairs: Pairs, tmp_path: Path) -> None:
    pair = pairs("gemma3")
    checkpoint = Path(shutil.copytree(pair.checkpoint, tmp_path / "carded"))
    (checkpoint / "README.md").write_text("---\nlicense: gemma\n---\n", "utf-8")
    writer = GGUFWriter(tmp_path / "stated.gguf", "llama")
    writer.add_license("gemma")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    out = tmp_path / "part"
    for order in (order_of(checkpoint, out), order_of(None, out, tmp_path / "stated.gguf", pair.mmproj)):
        with pytest.raises(
            ConfigError, match="says of itself that it is under gemma, and --licence says Apa"
        ):
            make_mllm(order, workshop())
        with pytest.raises(ConfigError, match="is under gemma, which asks for more"):
            make_mllm(replace(order, licence=None), workshop())


def test_an_adapter_that_is_none_is_one_sentence(pairs: Pairs, tmp_path: Path) -> None:
    checkpoint = pairs("qwen2_5_vl").checkpoint
    with pytest.raises(ModelError, match=r"holds no adapter: name a folder with an adapter_config.json"):
        make_mllm(replace(order_of(checkpoint, tmp_path / "part"), adapter=tmp_path), workshop())
    with pytest.raises(ConfigError, match="--adapter-gguf means nothing"):
        make_mllm(
            replace(order_of(checkpoint, tmp_path / "part"), adapter_gguf=tmp_path / "a.gguf"), workshop()
        )
    with pytest.raises(ConfigError, match="an adapter needs the checkpoint"):
        make_mllm(
            replace(order_of(None, tmp_path / "part", checkpoint, checkpoint), adapter=tmp_path), workshop()
        )
