"""From a checkpoint, or from a GGUF pair, to a language model part that the gate let through."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinsight.bundle import LlmPart
from kinsight.config import DeviceConfig
from kinsight.errors import ConfigError, ModelError
from kinsight.llm.blobs import Blobs
from kinsight.llm.header import read_header
from kinsight.llm.memory import check_memory
from kinsight.types import Pixels
from kinsight_export.gate import Report
from kinsight_export.gate.choice import Choice
from kinsight_export.gguf_file import to_gguf, to_lora, to_pair
from kinsight_export.licences import licence_of, required_licence
from kinsight_export.mllm.candidates import Bench, choose_encoder, choose_words
from kinsight_export.mllm.device import Device, album
from kinsight_export.mllm.exam import Answers, answers_of, prompts_of
from kinsight_export.mllm.judging import AS_CONVERTED, QUANTISED, judge, judge_alone
from kinsight_export.mllm.lora import with_adapter, write_merged
from kinsight_export.mllm.order import MllmOrder
from kinsight_export.mllm.pair import Costs, costs_of, probe
from kinsight_export.mllm.source import Source, kind_of, loaded, read_config, read_normalisation
from kinsight_export.parts import LlmSpec, Part, write_part
from kinsight_export.room import check_room
from kinsight_export.trial import GET_AGAIN, not_yet_bundled

Say = Callable[[str], None]
_SMOKE = "A photo of one named thing; the answer must contain the name."
_ROOM = 3  # times the checkpoint: files as converted, quantised, and the part
_GATE_CONTEXT = 2048  # tokens


@dataclass(frozen=True)
class Workshop:
    """With what it is made."""

    tools: Callable[[], Path]  # llama.cpp's converter, fetched when it is needed
    config: DeviceConfig  # that of this machine, to run things
    device: DeviceConfig  # for which it is made
    pictures: Sequence[Pixels]  # to compare on
    say: Say


@dataclass(frozen=True)
class Made:
    """A part, and what was found out on the way."""

    reports: tuple[Report, ...]
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]  # what was chosen without being asked, with its reason
    part: Part | None = None  # None where the gate refused it


def make_mllm(order: MllmOrder, shop: Workshop) -> Made:
    """Converts, judges, quantises, judges again and writes the part, if it is what its source is.

    ConfigError for options that contradict each other, ModelError where a source or the device will not do,
    ParityError where a pair without a source does not look at pictures.
    """
    _check(order)
    with not_yet_bundled(GET_AGAIN):
        order = replace(order, licence=_licence(order))
    out = order.out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        not_yet_bundled(GET_AGAIN),
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch,
    ):
        if order.checkpoint:
            return _export(order, shop, order.checkpoint, Path(scratch))
        assert order.gguf and order.mmproj
        return _adopt(order, shop, order.gguf, order.mmproj)


def _check(order: MllmOrder) -> None:
    pair = order.gguf, order.mmproj
    if any(pair) and not all(pair):
        raise ConfigError("a model and its picture encoder belong together", "pass both --gguf and --mmproj")
    if order.checkpoint is None and not all(pair):
        raise ConfigError(
            "there is nothing to export", "name a checkpoint's folder, or pass --gguf and --mmproj"
        )
    if order.adapter_gguf and not order.adapter:
        raise ConfigError("--adapter-gguf means nothing without --adapter", "pass it, or leave it out")
    if order.adapter and (order.checkpoint is None or any(pair)):
        raise ConfigError(
            "an adapter needs the checkpoint that it was trained on", "name the checkpoint's folder"
        )
    if order.checkpoint and not order.checkpoint.is_dir():
        raise ConfigError(f"there is no folder {order.checkpoint}", "check the path")
    for file in pair:
        if file and not file.is_file():
            raise ConfigError(f"there is no file {file}", "check the path")


def _licence(order: MllmOrder) -> str:
    """As the model card and the files' headers state it, or else the order names it."""
    stated = [licence_of(order.checkpoint)] if order.checkpoint else []
    headers = [read_header(file).values for file in (order.gguf, order.mmproj) if file]
    stated += [str(values.get("general.license") or "") for values in headers]
    name = (order.checkpoint or order.gguf or order.out).name
    return required_licence(order.licence, stated, order.accept, name)


def _adopt(order: MllmOrder, shop: Workshop, llm: Path, mmproj: Path) -> Made:
    """A pair without its source: it must run, hold no dead weight, and look at pictures."""
    costs = _costs(order, shop, llm, mmproj)
    part = _part(llm, mmproj, costs)
    shop.say("trying the pair in a process of its own ...")
    probed = probe(part)
    report = judge_alone(part, shop.config, shop.pictures)
    report.require()
    begin, end = probed.marker
    notes = [f"a picture stands between {begin} and {end}", f"a turn ends with {probed.end}"]
    if not probed.has_template:
        notes.append("it has no chat template, so prompts are lines of `role: text`")
    return _written(order, shop, part, Made((report,), (), (costs.reason, *notes)))


def _export(order: MllmOrder, shop: Workshop, checkpoint: Path, scratch: Path) -> Made:
    """A checkpoint, or a pair that somebody made of it."""
    frame = kind_of(checkpoint).frame(read_config(checkpoint))
    read_normalisation(checkpoint)
    _check_room(checkpoint, scratch)
    files = _converted(order, shop, checkpoint, scratch)
    costs = _costs(order, shop, *files[:2])
    part = replace(_part(*files[:2], costs), context=_GATE_CONTEXT, image_max_tokens=frame.tokens)
    probe(part)
    shop.say("comparing with the source ...")
    seen = album()
    answers, report = _compared(order, shop, checkpoint, part, seen)
    reports: tuple[Report, ...] = (report,)
    if order.adapter_gguf:
        reports += (_beside(order, shop, checkpoint, replace(part, file=scratch / "base.gguf"), answers),)
    small = files[2]
    if small is None or any(list(each.broken()) for each in reports):
        return _written(order, shop, _part(*files[:2], costs), Made(reports, (), (costs.reason,)))
    shop.say("quantising, then judging and timing every candidate ...")
    bench = Bench(answers, part, replace(QUANTISED, divergence=order.max_loss), shop.config, scratch, seen)
    encoder, words = choose_encoder(bench, small), choose_words(bench, order.quantise)
    chosen = words.chosen.files[0], encoder.chosen.files[0]
    part = replace(part, file=chosen[0], mmproj=chosen[1])
    with Device(part, shop.config, seen=seen) as device:
        final = judge(answers, device, part, bench.limits)
    reports = final, replace(report, part="llm_converted"), *reports[1:]
    return _written(order, shop, _part(*chosen, costs), Made(reports, (encoder, words), (costs.reason,)))


def _beside(order: MllmOrder, shop: Workshop, checkpoint: Path, base: LlmPart, answers: Answers) -> Report:
    """The adapter as a GGUF file of its own beside its base, which llama.cpp adds while it runs."""
    assert order.adapter and order.adapter_gguf
    shop.say("converting the adapter ...")
    to_gguf(checkpoint, base.file, "f16", shop.tools(), order.pretokenizer)
    to_lora(order.adapter, checkpoint, order.adapter_gguf, shop.tools())
    with Device(base, shop.config, order.adapter_gguf) as device:
        return replace(judge(answers, device, base, AS_CONVERTED), part="llm_adapter")


def _converted(
    order: MllmOrder, shop: Workshop, checkpoint: Path, scratch: Path
) -> tuple[Path, Path, Path | None]:
    """Model and picture encoder in f16, and the latter in 8 bits; or the pair that was given."""
    if order.gguf and order.mmproj:
        return order.gguf, order.mmproj, None
    whole = checkpoint
    if order.adapter:
        shop.say("merging the adapter ...")
        whole = write_merged(with_adapter(loaded(checkpoint), order.adapter), checkpoint, scratch / "merged")
    shop.say("converting ...")
    llm, mmproj, small = (scratch / f"{name}.gguf" for name in ("llm-f16", "mmproj-f16", "mmproj-q8_0"))
    to_pair(whole, {"f16": mmproj, "q8_0": small}, llm, shop.tools(), order.pretokenizer)
    return llm, mmproj, small


def _compared(
    order: MllmOrder, shop: Workshop, checkpoint: Path, part: LlmPart, seen: Blobs
) -> tuple[Answers, Report]:
    source = Source(checkpoint, order.adapter)
    limits = QUANTISED if order.gguf else AS_CONVERTED
    with Device(part, shop.config, seen=seen) as device:
        answers = answers_of(source, device, prompts_of(source, shop.pictures))
        del source
        return answers, judge(answers, device, part, limits)


def _costs(order: MllmOrder, shop: Workshop, llm: Path, mmproj: Path) -> Costs:
    costs = costs_of(llm, mmproj, order.context, shop.device.image_max_tokens)
    return replace(costs, image_max_tokens=order.image_max_tokens) if order.image_max_tokens else costs


def _part(llm: Path, mmproj: Path, costs: Costs) -> LlmPart:
    return LlmPart(
        file=llm,
        sha256="",
        mmproj=mmproj,
        mmproj_sha256=None,
        sees=costs.sees,
        context=costs.context,
        max_references=costs.max_references,
        image_max_tokens=costs.image_max_tokens,
        stop=(),
        smoke=_SMOKE,
    )


def _written(order: MllmOrder, shop: Workshop, part: LlmPart, made: Made) -> Made:
    """The part on the disk, unless the gate refuses it; then only what was found."""
    if any(list(report.broken()) for report in made.reports):
        return made
    check_memory(part, shop.device)
    spec = LlmSpec(
        file=part.file,
        sees=part.sees,
        context=part.context,
        max_references=part.max_references,
        stop=part.stop,
        smoke=part.smoke,
        mmproj=part.mmproj,
        image_max_tokens=part.image_max_tokens,
        licence=order.licence,
    )
    parity = {report.part: report.table() for report in made.reports}
    parity |= {f"{choice.chosen.report.part}_candidates": choice.table() for choice in made.choices}
    return replace(made, part=write_part(spec, parity, order.out, order.replace))


def _check_room(checkpoint: Path, scratch: Path) -> None:
    weights = [file for form in ("*.safetensors", "*.bin") for file in checkpoint.glob(form)]
    if not weights:
        raise ModelError(f"{checkpoint} holds no weights", "fetch its .safetensors files as well")
    size = sum(file.stat().st_size for file in weights)
    check_room(f"the export of {checkpoint.name}", scratch, _ROOM * size, 2 * size)
