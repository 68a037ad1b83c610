"""The source of both halves as it is read for the tests of the house: modules, imports, floors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[1]
HALVES = {
    "kinsight": ROOT / "runtime" / "kinsight",
    "kinsight_export": ROOT / "export" / "kinsight_export",
    "kinsight_train": ROOT / "export" / "kinsight_train",
}

FLOORS = {
    "ground": {
        *("types", "errors", "closing", "config", "machine", "tomlread", "tomlwrite", "bundle", "home"),
        "metrics",
        "calibration",
    },
    "engines": {"session", "llm", "index", "store", "image"},
    "stages": {
        *("detect", "embed", "evidence", "recall", "why", "prompt", "teach", "marks", "chat", "album"),
        *("advice", "exchange", "faces", "foresight", "memory", "seek"),
    },
    "the product": {"assistant"},
    "about the product": {"evaluate", "bench", "catalogue", "doctor", "demo", "drawn"},
    "doors": {"cli"},
}
"""From bottom to top; a room imports from its own floor or lower ones, an engine only from the ground."""
FACES = {"kinsight", "kinsight.__main__"}
"""They stand at the doors too: `from kinsight import Assistant` and `python -m kinsight`."""

When = Literal["load", "call", "types"]
"""An import happens when the module is loaded, when a function is called, or for the type checker only."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One import of one module: `kinsight.llm` where a name is taken out of it."""

    module: str
    when: When


@dataclass(frozen=True)
class Module:
    """A file of either half."""

    name: str
    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def half(self) -> str:
        return self.name.partition(".")[0]

    @property
    def room(self) -> str:
        return room_of(self.name)

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (ast.get_docstring(self.tree) or "\n").splitlines()[0]

    @cached_property
    def imports(self) -> list[Import]:
        return list(self._imports(self.tree, "load"))

    def _imports(self, node: ast.AST, when: When) -> Iterator[Import]:
        if isinstance(node, Function | ast.Lambda) and when == "load":
            when = "call"
        unrun = node.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" else []
        for child in ast.iter_child_nodes(node):
            yield from self._imports(child, "types" if child in unrun else when)
        yield from (Import(module, when) for module in self._named_by(node))

    def _named_by(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = self._absolute(node)
            yield from (name if (name := f"{source}.{a.name}") in MODULES else source for a in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__", "find_spec"):
            names = [
                n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            ]
            yield from names or ["a name that cannot be read here"]

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        inside = self.name.split(".") + [""] * (self.path.name == "__init__.py")
        return ".".join([*inside[: -node.level], *([node.module] if node.module else [])])


def called(node: ast.Call) -> str:
    """The last part of what is called, "" where that is no name."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def room_of(module: str) -> str:
    """`kinsight.llm` of `kinsight.llm.engine`."""
    return ".".join(module.split(".")[:2])


def modules() -> Iterator[Module]:
    for half, folder in HALVES.items():
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder).with_suffix("").parts
            yield Module(".".join((half, *inner)).removesuffix(".__init__"), path)


MODULES: dict[str, Module] = {}
MODULES.update({module.name: module for module in modules()})
LEVELS = {f"kinsight.{room}": level for level, rooms in enumerate(FLOORS.values()) for room in rooms}
LEVELS |= dict.fromkeys(FACES, len(FLOORS) - 1)


@cache
def functions() -> list[tuple[str, Function]]:
    """Every function with its module; read when first asked for, as every test process imports this file."""
    walked = ((name, node) for name, module in MODULES.items() for node in ast.walk(module.tree))
    return [(name, node) for name, node in walked if isinstance(node, Function)]


def all_imports() -> Iterator[tuple[Module, Import]]:
    for module in MODULES.values():
        yield from ((module, found) for found in module.imports)
