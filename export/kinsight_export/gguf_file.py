"""GGUF files from a checkpoint: llama.cpp's own converter, of the very version that the device runs."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from kinsight.bundle.verify import sha256_of
from kinsight.errors import ModelError
from kinsight.llm.native import PACKAGE, failure, library

OutType = Literal["f32", "f16", "bf16", "q8_0"]
Kind = Literal["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0"]
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
"""Of the source distribution that `PACKAGE` names."""

_SCRIPT, _LORA_SCRIPT = "convert_hf_to_gguf.py", "convert_lora_to_gguf.py"
_EYES = ("--mmproj",)
_NEEDED = (_SCRIPT, _LORA_SCRIPT, "conversion/", "gguf-py/gguf/", "LICENSE")
_INSIDE = "vendor/llama.cpp/"
_UNKNOWN_WORDS = "pre-tokenizer was not recognized"  # in the converter's output
_MEND_WORDS = "say how it cuts text into words with --pretokenizer, say qwen2, llama-bpe, lfm2 or smollm"
_RUN = Path(__file__).with_name("converter_run.py")
_LAST_LINES = 6  # of the converter's output, in an error
_MEND_SOURCE = f"run this once where pip gets {PACKAGE} as source, or copy the converter's folder from there"
_MEND_CHECKPOINT = "see to the checkpoint's folder, or to the converter's Python packages"


def converter(cache: Path) -> Path:
    """The folder of llama.cpp's converter, fetched by pip and unpacked into `cache` the first time.

    ModelError where pip cannot fetch it, or where what it fetched is not what was pinned.
    """
    folder = cache / f"converter-{SHA256[:12]}"
    if all((folder / script).is_file() for script in (_SCRIPT, _LORA_SCRIPT)):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        archive = _download(Path(scratch))
        whole = Path(scratch) / "whole"
        unpack(archive, whole)
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)
    return folder


def unpack(archive: Path, folder: Path, sha256: str = SHA256) -> None:
    """Writes the converter's plain files, and nothing else, of a source distribution that is as pinned."""
    if sha256_of(archive) != sha256:
        raise ModelError(f"{archive.name} is not what was pinned", f"get {PACKAGE} from a registry you trust")
    with tarfile.open(archive) as tar:
        for member in tar:
            path = _wanted(member)
            if path and (source := tar.extractfile(member)):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(source.read())


def to_gguf(
    hf_folder: Path, out: Path, outtype: OutType, converter_folder: Path, pretokenizer: str = ""
) -> Path:
    """The language model of a checkpoint, with vocabulary and chat template. ModelError where it fails.

    `pretokenizer`: llama.cpp's name of how a vocabulary cuts text into words, for one that it does not know.
    """
    _convert(hf_folder, [_Job(_SCRIPT, out, outtype)], converter_folder, pretokenizer)
    return out


def to_mmproj(hf_folder: Path, out: Path, outtype: OutType, converter_folder: Path) -> Path:
    """The picture encoder of a checkpoint. ModelError where it fails."""
    _convert(hf_folder, [_Job(_SCRIPT, out, outtype, _EYES)], converter_folder)
    return out


def to_pair(
    hf_folder: Path, outs: Mapping[OutType, Path], llm: Path, converter_folder: Path, pretokenizer: str = ""
) -> Path:
    """The language model in f16, and picture encoders of several types, in one process: beginning takes long.

    `outs` are those of the picture encoders. ModelError where it fails.
    """
    eyes = [_Job(_SCRIPT, out, outtype, _EYES) for outtype, out in outs.items()]
    _convert(hf_folder, [_Job(_SCRIPT, llm, "f16"), *eyes], converter_folder, pretokenizer)
    return llm


def to_lora(adapter: Path, hf_folder: Path, out: Path, converter_folder: Path) -> Path:
    """A LoRA adapter of a checkpoint as a GGUF file of its own, in f32. ModelError where it fails."""
    _convert(
        hf_folder, [_Job(_LORA_SCRIPT, out, "f32", ("--base", str(hf_folder)), adapter)], converter_folder
    )
    return out


def quantise(source: Path, out: Path, kind: Kind) -> Path:
    """A smaller GGUF of an unquantised one; rows that do not fit a kind's blocks take the next bigger kind.

    It takes models, not picture encoders: those are small at once with `to_mmproj(..., "q8_0")`.
    """
    llama = library().llama
    library().errors.clear()
    params = llama.llama_model_quantize_default_params()
    params.ftype = getattr(llama, f"LLAMA_FTYPE_MOSTLY_{kind}")
    if llama.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)) != 0:
        out.unlink(missing_ok=True)
        raise failure(f"{source.name} cannot be quantised to {kind}", "give an unquantised GGUF of a model")
    return out


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    command += ["--no-binary", PACKAGE.partition("==")[0], PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = next(folder.glob("llama_cpp_python-*.tar.gz"), None)
    if archive is None:
        raise ModelError(f"llama.cpp's converter cannot be fetched ({_tail(done)})", _MEND_SOURCE)
    return archive


def _wanted(member: tarfile.TarInfo) -> Path | None:
    """Where a member belongs in the converter's folder; None for one that is not part of it."""
    inside = member.name.partition("/")[2]
    if not member.isfile() or not inside.startswith(_INSIDE):
        return None
    path = PurePosixPath(inside.removeprefix(_INSIDE))
    if not str(path).startswith(_NEEDED) or ".." in path.parts or path.is_absolute():
        return None
    return Path(path)


@dataclass(frozen=True)
class _Job:
    """One run of one of llama.cpp's scripts."""

    script: str
    out: Path
    outtype: OutType
    more: tuple[str, ...] = ()
    source: Path | None = None  # None: the checkpoint

    def words(self, hf_folder: Path) -> list[str]:
        """Its command line."""
        files = ["--outfile", str(self.out), "--outtype", self.outtype]
        return [self.script, str(self.source or hf_folder), *self.more, *files]


def _convert(hf_folder: Path, jobs: Sequence[_Job], converter_folder: Path, pretokenizer: str = "") -> None:
    if not (hf_folder / "config.json").is_file():
        raise ModelError(f"{hf_folder} holds no checkpoint", "name a folder with a config.json")
    words = json.dumps([job.words(hf_folder) for job in jobs])
    command = [sys.executable, str(_RUN), str(converter_folder), pretokenizer, words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_offline())
    if done.returncode != 0 or not all(job.out.is_file() for job in jobs):
        for job in jobs:
            job.out.unlink(missing_ok=True)
        mend = _MEND_WORDS if _UNKNOWN_WORDS in done.stderr else _MEND_CHECKPOINT
        raise ModelError(f"llama.cpp cannot convert {hf_folder.name} ({_tail(done)})", mend)


def _offline() -> dict[str, str]:
    """Our environment, with the hub out of reach: the converter has all that it needs in the folder."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return " / ".join(lines[-_LAST_LINES:]) or f"exit status {done.returncode}"
