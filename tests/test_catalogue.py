"""The catalogue that comes with kinsight, what is refused in one, and bundles that are brought by hand."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from kinsight.bundle import check_hashes
from kinsight.bundle.files import BUNDLE_TOML
from kinsight.catalogue import Order, add, fit, load_catalogue, pull, try_bundle
from kinsight.catalogue.archive import open_source
from kinsight.catalogue.entries import FREE_LICENCES
from kinsight.catalogue.smoke import Trial, wrong_colours
from kinsight.config import DeviceConfig, device_names, load_device
from kinsight.errors import BundleError, CatalogueError, PullError
from kinsight.home import Home, open_home
from kinsight_export.parts import LlmSpec
from standin import offer, serving
from terminal import Terminal, fine
from tiny import make_bundle
from tiny_gguf import make_text_gguf, make_vision_pair

OURS = load_catalogue()
ROOT = Path(__file__).parents[1]
PINNED = re.compile(
    r"https://huggingface\.co/[\w.-]+/[\w.-]+/resolve/[0-9a-f]{40}/[\w./-]+"
    r"|https://github\.com/[\w.-]+/[\w.-]+/releases/download/[\w.-]+/[\w.-]+"
)
PUBLISHED_GB = {"tiny": 0.44, "small": 0.70, "medium": 2.5, "large": 3.9, "gemma-e2b": 5.0, "gemma-e4b": 6.9}


@pytest.fixture
def my_home(home: Path) -> Home:
    return open_home(home)


def silent(file: str, done: int, total: int) -> None:
    pass


@pytest.mark.parametrize("name", OURS.entries)
def test_every_file_of_every_bundle_is_pinned(name: str) -> None:
    """To a commit or a release, with a hash and a size: nothing that can be pulled may change."""
    entry = OURS.entry(name)
    roles = {part.role: part for part in entry.parts}
    wanted = {"detector.onnx", "image.onnx", "text.onnx", "tokenizer.json"}
    wanted |= {"llm.gguf", "mmproj.gguf"} if "llm" in roles else set()
    assert {file.name for file in entry.files} == wanted
    for file in entry.files:
        assert PINNED.fullmatch(file.url), file.url
        assert re.fullmatch("[0-9a-f]{64}", file.sha256) and file.size > 1_000_000
    assert len({file.sha256 for file in entry.files}) == len(entry.files)
    assert len(roles["detector"].texts["labels.txt"].splitlines()) == 80
    assert abs(entry.size / 1e9 - PUBLISHED_GB.get(name, 0.16)) < 0.05 * PUBLISHED_GB.get(name, 0.2)


@pytest.mark.parametrize("name", OURS.recipes)
def test_what_has_no_hashes_is_a_recipe_whose_commands_are_known(name: str, kinsight: Terminal) -> None:
    """Nothing without a hash is offered to be pulled; the steps to make it are kinsight's own commands."""
    from kinsight_export.cli import cli

    recipe = OURS.recipes[name]
    with pytest.raises(
        CatalogueError, match=f"{name} cannot be pulled, .*: see `kinsight models show {name}`"
    ):
        OURS.entry(name)
    installs, *commands = recipe.steps
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"\n{recipe.extra} = [" in project and f"kinsight[{recipe.extra}]" in installs
    for words in map(str.split, commands):
        assert words[0] == "kinsight-export"
        with click.Context(cli) as context:
            cli.commands[words[1]].make_context(words[1], words[2:], parent=context)
    assert commands[-2].endswith(f" --out {name}") and f"--{recipe.part} {name} " in commands[-1]
    assert "kinsight-export all --bundle" in commands[-1]
    accepted = [word for before, word in pairwise(commands[-2].split()) if before == "--accept"]
    assert accepted == ([] if recipe.licence in FREE_LICENCES else [recipe.licence])


def test_recipes_are_listed_and_shown(kinsight: Terminal) -> None:
    listed = fine(kinsight("models"))
    assert re.search(r"^yolo11n +detector +AGPL-3.0 +YOLO11-N", listed.out, re.M)
    shown = fine(kinsight("models", "show", "yolo11n")).out
    assert "\n  kinsight-export detector yolo11n.pt --accept AGPL-3.0 --out yolo11n\n" in shown
    assert fine(kinsight("models", "show", "yolo11n", "--json")).json["licence"] == "AGPL-3.0"
    rows = fine(kinsight("models", "--json")).json["recipes"]
    assert [row["name"] for row in rows] == list(OURS.recipes)
    said = kinsight("pull", "yolo11n")
    assert said.code == 1 and "yolo11n cannot be pulled, it is made on a workstation" in said.err


def test_what_is_ready_to_be_pulled_is_free_and_fits_the_devices_it_is_for() -> None:
    assert [name for name, entry in OURS.entries.items() if entry.to_accept] == []
    for entry in OURS.entries.values():
        assert entry.licence == "Apache-2.0"
        assert set(entry.devices) <= set(device_names())
    for device in device_names():
        assert device in OURS.entry(load_device(device).bundle or "").devices


def test_an_estimate_of_when_to_name_somebody_says_that_it_is_one() -> None:
    """Nobody has measured CLIP here, so a name needs more than the published mean of the same thing."""
    for (role, _), part in OURS.parts.items():
        if role == "embedder":
            calibration = part.table["calibration"]
            assert calibration["estimated"] and calibration["fitted_on"].startswith("nothing")
            needed = [
                cosine
                for cosine, chance in calibration["curve"]
                if chance >= calibration["accept_probability"]
            ]
            assert min(needed) > 0.885


RECIPE = """[recipes.x]
summary = "a thing"
part = "detector"
licence = "MIT"
weights = "x.pt"
extra = "export"
commands = ["kinsight-export detector x.pt --out x"]
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('role = "x"', "", ""),
        ("bytes = ", "size = ", "'detector.one.size' is not known"),
        (
            'detector = "one"',
            'detector = "two"',
            "'bundles.tiny.detector' is 'two', which is no part .*: name one of one",
        ),
        ('sha256 = "', 'sha256 = "G', "'detector.one.sha256' is"),
        ("http://127.0.0.1", "http://127.0.0.1.example", "an https address"),
        ("http://127.0.0.1", "http://me:pw@127.0.0.1", "an https address"),
        ('file = "image.onnx"', 'file = "../image.onnx"', "the name of a file without a folder"),
        ('file = "image.onnx"', 'file = "detector.onnx"', "has two files of one name"),
        ("[bundles.tiny]", '[bundles."../tiny"]', "is no name for a bundle"),
        ("format = 1", "format = 2", "'format' is 2"),
        ("[bundles.tiny]", "[bundle.tiny]", "'bundle' is not known .*: write 'bundles'"),
        ('licence = "MIT"', "", "licence' is missing"),
        ("[bundles.tiny]", f"{RECIPE}bundle = 'huge'\n[bundles.tiny]", "'recipes.x.bundle' is no bundle of"),
        ("[bundles.tiny]", f"{RECIPE}bundle = 'tiny'\ncommand = 'x'\n[bundles.tiny]", "write 'commands'"),
        (
            "[bundles.tiny]",
            f"{RECIPE.replace('x]', 'tiny]')}bundle = 'tiny'\n[bundles.tiny]",
            "name of a bund",
        ),
    ],
)
def test_a_wrong_catalogue_is_refused_by_name(
    old: str, new: str, words: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "catalogue.toml"
    with serving() as served:
        offer(served, tiny_bundle, file)
    text = file.read_text(encoding="utf-8")
    if not words:
        assert load_catalogue(file).entry("tiny").tables()["detector"]["labels"] == "labels.txt"
        return
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CatalogueError, match=words) as caught:
        load_catalogue(file)
    assert "catalogue.toml" in str(caught.value)


def test_what_fits(tmp_path: Path, device: DeviceConfig) -> None:
    roomy = replace(device, memory_mb=4096)
    assert fit(1_000_000_000, 1_000_000_000, roomy, tmp_path).words == "yes"
    tight = fit(5_000_000_000, 1 << 60, roomy, tmp_path)
    assert not tight.fits
    assert tight.words.startswith(
        "no: takes 5.3 GB of memory, 4.3 GB are allowed, needs 1152921504.6 GB on the disk"
    )


Packed = Callable[[Path], Path]


def zipped(bundle: Path) -> Path:
    out = bundle.with_name("packed.zip")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in bundle.iterdir():
            archive.write(file, f"some/folder/{file.name}")
    return out


def tarred(bundle: Path) -> Path:
    out = bundle.with_name("packed.tar.gz")
    with tarfile.open(out, "w:gz", compresslevel=1) as archive:
        archive.add(bundle, "tiny")
    return out


QUICK: dict[str, dict[str, Any]] = {"xz": {"preset": 0}, "bz2": {"compresslevel": 1}}
"""How archives are packed in no time."""


def tarred_as(kind: str) -> Packed:
    def packed(bundle: Path) -> Path:
        out = bundle.with_name(f"packed.{kind}")
        with tarfile.open(out, f"w:{kind}", **QUICK[kind]) as archive:
            archive.add(bundle, "folder/inside")
        return out

    return packed


def twice_xz(bundle: Path) -> Path:
    """Two streams with padding between and after them, as `xz` concatenates."""
    out = tarred_as("xz")(bundle)
    plain = lzma.decompress(out.read_bytes())
    halves = (lzma.compress(half, preset=0) for half in (plain[:700], plain[700:]))
    out.write_bytes(b"".join(half + bytes(8) for half in halves))
    return out


PACKED = {
    "zip": zipped,
    "tar.gz": tarred,
    "tar.bz2": tarred_as("bz2"),
    "tar.xz": tarred_as("xz"),
    "tar.xz in two streams": twice_xz,
    "folder": lambda bundle: bundle,
}


@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
def test_a_bundle_is_brought(packed: Packed, tiny_bundle: Path, my_home: Home, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_bundle, tmp_path / "source")
    bundle = add(packed(source), my_home)
    assert bundle.folder == my_home.bundles / "tiny"
    check_hashes(bundle)
    with pytest.raises(PullError, match="there is a bundle tiny already: pass --replace"):
        add(packed(source), my_home)
    assert add(packed(source), my_home, again=True) == bundle
    assert [path.name for path in my_home.bundles.iterdir()] == ["tiny"]


def test_a_damaged_bundle_is_not_brought(tiny_bundle: Path, my_home: Home, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_bundle, tmp_path / "source")
    file = source / "image.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="is damaged"):
        add(zipped(source), my_home)
    (source / BUNDLE_TOML).write_text("[bundle")
    with pytest.raises(BundleError, match="is not TOML"):
        add(source, my_home)
    (source / BUNDLE_TOML).unlink()
    with pytest.raises(PullError, match="holds no bundles"):
        add(source, my_home)
    assert list(my_home.bundles.iterdir()) == []


def a_zip(**entries: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries.items():
                archive.writestr(name, data)

    return write


def a_tar(*members: tuple[str, bytes, str]) -> Callable[[Path], None]:
    """(name, type of tarfile, target of a link) each."""

    def write(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            for name, kind, target in members:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, target
                info.size = 4 if kind == tarfile.REGTYPE else 0
                archive.addfile(info, io.BytesIO(b"evil") if info.size else None)

    return write


def a_link_in_a_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("bundle.toml")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")


def a_bomb(path: Path) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("image.onnx")
        info.size = 120_000_000
        with Path("/dev/zero").open("rb") as zeros:
            archive.addfile(info, zeros)


def a_long_header(kind: bytes, said: int) -> Callable[[Path], None]:
    """A header of a name or of what is said about a file, which would be read into memory, and a file."""

    def write(path: Path) -> None:
        header, member = tarfile.TarInfo("././@LongLink"), tarfile.TarInfo("bundle.toml")
        header.type, header.size = kind, said
        with gzip.open(path, "wb", 1) as out:
            out.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(said + -said % 512))
            out.write(member.tobuf() + bytes(1024))

    return write


def many_headers(path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) * 3000)


def many_folders(path: Path) -> None:
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    with gzip.open(path, "wb", 1) as out:
        out.write(folder.tobuf() * 10_002 + bytes(1024))


def many_words(path: Path) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as archive:
        for row in range(100):
            info = tarfile.TarInfo(str(row))
            info.pax_headers = {"comment": "x" * 60_000}
            archive.addfile(info)


def a_file_with_holes(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("bundle.toml")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x"}
        archive.addfile(info)


def a_lie_about_a_size(path: Path) -> None:
    a_zip(**{"bundle.toml": b"[bundle]\n" * 100})(path)
    data = path.read_bytes()
    size = len(b"[bundle]\n" * 100).to_bytes(4, "little")
    path.write_bytes(data.replace(size, (9).to_bytes(4, "little")))


def a_greedy_xz(path: Path) -> None:
    """Its first block says that 3 GiB of memory are needed to unpack it."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]
    data = bytearray(lzma.compress(bytes(20_480), filters=filters))
    at, size = 12, (data[12] + 1) * 4
    place = data.index(b"\x21\x01", at) + 2
    data[place] = 39
    data[at + size - 4 : at + size] = zlib.crc32(data[at : at + size - 4]).to_bytes(4, "little")
    path.write_bytes(data)


def damaged(kind: str, where: float) -> Callable[[Path], None]:
    """A tar archive of random bytes with a wrong one at a share of its length."""

    def write(path: Path) -> None:
        with tarfile.open(path, f"w:{kind}", **QUICK[kind]) as archive:
            for name in ("a", "bundle.toml"):
                info = tarfile.TarInfo(name)
                info.size = 150_000  # more than a block of bzip2 at that level
                archive.addfile(info, io.BytesIO(np.random.default_rng(1).bytes(info.size)))
        data = bytearray(path.read_bytes())
        data[int(len(data) * where)] ^= 0xFF
        path.write_bytes(data)

    return write


def cut(path: Path) -> None:
    damaged("xz", 0.9)(path)
    path.write_bytes(path.read_bytes()[:100_000])


def a_zip_of_lzma(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("bundle.toml", b"x" * 1000)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (a_greedy_xz, "asks for more than 128 MiB to be unpacked: pack it again as .tar.gz or .zip"),
        (a_zip_of_lzma, "is packed in an uncommon way: pack it again, as zip usually does"),
        (cut, "cannot be unpacked"),
        (damaged("xz", 0.5), "cannot be unpacked"),
        (damaged("bz2", 0.9), "cannot be unpacked"),
        (a_zip(**{"../../evil.txt": b"evil"}), "'../../evil.txt', which leads out of its folder"),
        (a_zip(**{"/tmp/evil.txt": b"evil"}), "which leads out"),
        (a_zip(**{"a\\..\\..\\evil.txt": b"evil"}), "which leads out"),
        (a_zip(**{"C:/evil.txt": b"evil"}), "which leads out"),
        (a_link_in_a_zip, "holds a link or a device, 'bundle.toml'"),
        (a_tar(("../evil.txt", tarfile.REGTYPE, "")), "which leads out"),
        (a_tar(("/etc/cron.d/evil", tarfile.REGTYPE, "")), "which leads out"),
        (a_tar(("bundle.toml", tarfile.SYMTYPE, "/etc/passwd")), "holds a link or a device"),
        (a_tar(("bundle.toml", tarfile.LNKTYPE, "../../store.db")), "holds a link or a device"),
        (a_tar(("tty", tarfile.CHRTYPE, "")), "holds a link or a device"),
        (a_tar(("a", tarfile.REGTYPE, ""), ("a", tarfile.REGTYPE, "")), "holds 'a' twice"),
        (a_bomb, "would unpack to 120 MB or more, which no models do"),
        (a_long_header(tarfile.GNUTYPE_LONGNAME, 65_537), "has a name or a header of 65537 bytes"),
        (a_long_header(tarfile.GNUTYPE_LONGLINK, 1 << 17), "has a name or a header of 131072 bytes"),
        (a_long_header(tarfile.XHDTYPE, 1 << 17), "has a name or a header of 131072 bytes"),
        (a_long_header(tarfile.XGLTYPE, 1 << 17), "has a name or a header of 131072 bytes"),
        (many_headers, "cannot be unpacked"),
        (many_folders, "holds too many files, folders and words about them"),
        (many_words, "holds too many files, folders and words about them"),
        (a_file_with_holes, "a file with holes in it: pack it again without --sparse"),
        (a_lie_about_a_size, "cannot be unpacked|of another size"),
        (a_zip(**{f"{n}/bundle.toml": b"" for n in range(2)}), "holds 2 bundles"),
        (a_zip(**{"bundle.toml": b"", **{str(n): b"" for n in range(99)}}), "holds 100 files beside its"),
        (lambda path: path.write_bytes(b"PK\x03\x04 nothing"), "is no zip or tar archive"),
        (lambda path: path.write_bytes(b""), "is no zip or tar archive"),
    ],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    write: Callable[[Path], None], words: str, my_home: Home, tmp_path: Path
) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    write(inner / "archive")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PullError, match=re.escape(words) if "|" not in words else words) as caught:
        add(inner / "archive", my_home)
    assert "\n" not in str(caught.value)
    lock = my_home.cache / "pull.lock"
    assert [path for path in sorted(tmp_path.rglob("*")) if path != lock] == before


def test_the_files_of_a_bundle_are_brought_under_any_name(
    tiny_bundle: Path, my_home: Home, tmp_path: Path
) -> None:
    """A folder, or an archive, into which somebody has downloaded them; nobody is asked."""
    with serving() as served:
        offer(served, tiny_bundle, tmp_path / "catalogue.toml")
        stick = tmp_path / "stick"
        (stick / "below").mkdir(parents=True)
        for number, data in enumerate(served.files.values()):
            (stick / "below" / f"download({number})").write_bytes(data)
        (stick / "below" / "download(1)").rename(tmp_path / "blob")
        (stick / "as in a hub's cache").symlink_to(tmp_path / "blob")
        (stick / "holiday.jpg").write_bytes(b"not asked for")
        entry = load_catalogue(tmp_path / "catalogue.toml").entry("tiny")
        bundle, _ = pull(entry, my_home, Order(source=stick), silent)
        check_hashes(bundle)
        (stick / "below" / "download(0)").write_bytes(b"damaged")
        (my_home.bundles / "tiny" / "detector.onnx").unlink()
        with pytest.raises(
            PullError, match=rf"lacks detector\.onnx \({served.address}/owner/tool/releases/.*\)"
        ):
            pull(entry, my_home, Order(source=zipped_all(stick)), silent)
        assert served.log == []
    assert len(open_source(stick).sizes) == len(served.files) + 1


def zipped_all(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder.with_name("all")), "zip", folder))


SAYS = {"<|assistant|>": ["Momo"], "Momo": [" is in the photo"], " is in the photo": ["."]}


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose language model answers the smoke question."""
    folder = tmp_path_factory.mktemp("answering")
    gguf = make_text_gguf(folder / "says.gguf", SAYS)
    return make_bundle(folder / "answering", LlmSpec(gguf, "nothing", 2048, 0, (), "Momo")).folder


@pytest.mark.skipif(not find_spec("llama_cpp"), reason="llama-cpp-python is not installed")
def test_a_bundle_answers_its_smoke_question_where_it_can_crash(answering: Path) -> None:
    """Known to crash on processors for which a wheel was not made: then that is said, and kinsight lives."""
    lines = [
        "import json, sys; from pathlib import Path; from kinsight.bundle import read_bundle",
        "from kinsight.catalogue import try_bundle; from kinsight.config import DeviceConfig",
        "trials = list(try_bundle(read_bundle(Path(sys.argv[1])), DeviceConfig('test', (), 1, 4000)))",
        "print(json.dumps([[vars(trial) for trial in trials], 'llama_cpp' in sys.modules]))",
    ]
    line = [sys.executable, "-c", "\n".join(lines), answering]
    trials, here = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    assert {trial["part"]: trial["state"] for trial in trials} == dict.fromkeys(
        ("detector", "embedder", "recognition", "language model"), "well"
    )
    assert trials[-1]["words"].endswith("Momo is in the photo.")
    assert here is False


@pytest.mark.skipif(not find_spec("llama_cpp"), reason="llama-cpp-python is not installed")
def test_a_model_that_talks_nonsense_fails_its_smoke_question(bundle: Path, device: DeviceConfig) -> None:
    trials = {trial.part: trial for trial in try_bundle(bundle, device)}
    assert trials["recognition"].state == "well"
    assert trials["language model"].state == "failed"
    assert "no answer of its own that holds" in trials["language model"].words
    assert bundle.llm and trials["language model"].words.endswith(f"its bundle asks for: {bundle.llm.smoke}")


@pytest.mark.skipif(not find_spec("llama_cpp"), reason="llama-cpp-python is not installed")
def test_a_model_that_does_not_look_at_pictures_fails(tmp_path: Path, device: DeviceConfig) -> None:
    """It calls everything red, so one of two pictures is called what it is not."""
    _, mmproj = make_vision_pair(tmp_path)
    says = make_text_gguf(tmp_path / "says.gguf", {"<|assistant|>": ["red"]})
    spec = LlmSpec(says, "photo", 1024, 0, (), "red", mmproj, 4)
    blind = replace(make_bundle(tmp_path / "blind", spec), world="photos")
    trials = {trial.part: trial for trial in try_bundle(blind, device)}
    assert trials["its eyes"] == Trial("its eyes", "failed", "it calls a picture that is all blue 'red'")
    assert "its eyes" not in {trial.part for trial in try_bundle(replace(blind, world="drawn"), device)}


def test_who_tells_colours_apart() -> None:
    assert wrong_colours({"red": "Red.", "blue": "It is blue"}) == []
    assert wrong_colours({"red": "blue", "blue": "a dog"}) == ["red 'blue'", "blue 'a dog'"]
    assert wrong_colours({"red": "red or blue", "blue": "red or blue"}) == [
        "red 'red or blue'",
        "blue 'red or blue'",
    ]


def test_a_part_that_does_not_load_fails(bundle: Path, device: DeviceConfig, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    bad = replace(bundle, detector=replace(bundle.detector, file=broken), llm=None)
    trials = {trial.part: trial for trial in try_bundle(bad, device)}
    assert (trials["detector"].state, trials["embedder"].state) == ("failed", "well")
    assert "broken.onnx cannot be loaded" in trials["detector"].words


def test_the_verbs_of_what_is_brought(kinsight: Terminal, answering: Path) -> None:
    plain = replace(kinsight, bundle=None)
    said = fine(plain("models", "add", zipped(answering), "--no-try"))
    assert said.out == f"tiny is installed in {kinsight.home}/bundles/tiny.\n"
    assert re.search(r"^tiny .* yes +the smallest", fine(plain("models")).out, re.M)
    assert fine(plain("models", "try", "--json")).json["well"]  # the only one that is installed
    assert "there is no bundle 'small'" in plain("models", "try", "small").err
