"""Imports go strictly downward through the floors of the house, and each library stays where it belongs.

The imports are read from the source, those inside functions too; only what stands under ``TYPE_CHECKING`` may look upward.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "plmtrain"

FLOORS = (
    {"__main__"},
    {"cli"},
    {"commands"},
    {"study"},
    {"runs"},
    {"interop"},
    {"training"},
    {"objectives", "tasks"},
    {"scoring"},
    {"programs"},
    {"generation", "metrics"},
    {"backbones"},
    {"optim"},
    {"nn"},
    {"data"},
    {"corruption"},
    {"text"},
    {"settings"},
    {
        "batch",
        "families",
        "keyed_random",
        "console",
        "streams",
        "child_processes",
        "faults",
        "stopping",
        "files",
        "json_files",
        "redaction",
        "errors",
        "help",
        "limits",
    },
)
"""From the roof to the ground: a part may import every part of a lower floor, and on the ground each other."""

PLUGINS = (
    "objectives",
    "tasks",
    "backbones",
    "settings.objectives",
    "settings.tasks",
    "settings.models",
    "settings.scoring",
    "data.tables.readers",
)
"""Folders whose modules are found by name and know nothing of each other; what they share has one of the names below."""

SHARED = {
    "backbones": {"backbones"},
    "settings.objectives": {"base"},
    "settings.tasks": {"base"},
    "settings.models": {"base"},
    "settings.scoring": {"base"},
}

HEAVY = {"torch", "accelerate", "transformers", "datasets", "wandb", "matplotlib", "safetensors", "sklearn"}

PLACES = {
    "hydra": {f"settings.composing.{name}" for name in ("compose", "merging", "multirun")},
    "omegaconf": {"settings"},
    "transformers": {"commands.bench.transformers_trainer"},
    "wandb": {"training"},
}
"""The only modules, or parts, that may import a library."""


@dataclass(frozen=True)
class Import:
    """An import statement: ``module`` (as ``data.order``) imports ``target`` (as ``torch.nn`` or ``plmtrain.errors``)."""

    module: str
    target: str
    lazy: bool

    @property
    def part(self) -> str:
        return self.module.split(".")[0]

    @property
    def library(self) -> str:
        return self.target.split(".")[0]

    def __str__(self) -> str:
        return f"{self.module} imports {self.target}"


def _modules() -> dict[str, Path]:
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return names


MODULES = _modules()


def _targets(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    assert node.level == 0, "imports are absolute"
    for alias in node.names:
        # `from plmtrain import faults` imports a module, `from plmtrain.faults import plan` what is in one.
        is_module = f"{node.module}.{alias.name}".removeprefix("plmtrain.") in MODULES
        yield f"{node.module}.{alias.name}" if node.module.startswith("plmtrain") and is_module else node.module


def _imports(module: str, tree: ast.AST, lazy: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (Import(module, target, lazy) for target in _targets(node))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _imports(module, ast.Module(node.orelse, []), lazy)
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):  # an expression holds no import
            yield from _imports(module, node, lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def imports() -> list[Import]:
    """Every import of the package."""
    return [found for name, path in MODULES.items() for found in _imports(name, ast.parse(path.read_text("utf-8")))]


def _told(imports: Iterator[Import]) -> list[str]:
    return sorted({str(found) for found in imports})


def test_every_part_stands_on_one_floor() -> None:
    parts = [part for floor in FLOORS for part in floor]
    assert len(parts) == len(set(parts))
    assert {name.split(".")[0] for name in MODULES} - {"__init__"} <= set(parts)


def test_imports_go_downward() -> None:
    level = {part: number for number, floor in enumerate(FLOORS) for part in floor}
    ground = len(FLOORS) - 1
    own = [found for found in imports() if found.library == "plmtrain" and found.module != "__init__"]
    assert len(own) > 100, "the imports were not read"

    def upward(found: Import) -> bool:
        part = found.target.partition(".")[2].split(".")[0]
        if part in ("", found.part):
            return False  # the package itself holds its version alone
        return level[part] <= level[found.part] < ground

    assert _told(found for found in own if upward(found)) == []


@pytest.mark.parametrize("folder", PLUGINS)
def test_what_is_found_by_name_does_not_know_its_siblings(folder: str) -> None:
    def sibling(found: Import) -> bool:
        prefix, name = f"plmtrain.{folder}.", found.target.rpartition(".")[2]
        return found.module.startswith(f"{folder}.") and found.target.startswith(prefix) and name not in SHARED.get(folder, ())

    assert _told(found for found in imports() if sibling(found)) == []


def test_settings_and_corruption_know_nothing_heavy() -> None:
    """Not even inside a function: a mistake in the settings is told without torch."""
    wrong = (found for found in imports() if found.part in ("settings", "corruption") and found.library in HEAVY)
    assert _told(wrong) == []


def test_text_and_data_are_numpy_alone() -> None:
    wrong = (
        found for found in imports() if found.part in ("text", "data", "families", "keyed_random") and found.library in HEAVY
    )
    assert _told(found for found in wrong if found.module != "data.loading.step_loader") == []


def test_the_roof_and_the_ground_import_nothing_heavy_at_once() -> None:
    """``plmtrain --help`` waits for neither torch nor Hydra."""
    light = (
        "__init__",
        "__main__",
        "cli",
        "help",
        "errors",
        "families",
        "faults",
        "stopping",
        "files",
        "redaction",
        "keyed_random",
    )
    wrong = (found for found in imports() if found.part in light and found.library in HEAVY | {"hydra", "omegaconf"})
    assert _told(found for found in wrong if not found.lazy) == []


@pytest.mark.parametrize("library", PLACES)
def test_a_library_stays_in_its_place(library: str) -> None:
    places = PLACES[library]
    wrong = (found for found in imports() if found.library == library and not places & {found.module, found.part})
    assert _told(wrong) == []


def test_every_library_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + extras["tensorboard"] + extras["eval"] + extras["report"] + extras["bench"]
    declared = {re.match(r"[\w-]+", requirement).group() for requirement in requirements}
    packages = {"hydra": "hydra-core", "yaml": "pyyaml", "sklearn": "scikit-learn", "rouge_score": "rouge-score"}
    used = {found.library for found in imports()} - set(sys.stdlib_module_names) - {"plmtrain"}
    assert {packages.get(library, library) for library in used} <= declared


def test_no_verb_imports_another_verb() -> None:
    def verb(module: str) -> str:
        return module.removeprefix("plmtrain.").split(".")[1]

    between = (
        found
        for found in imports()
        if found.part == "commands" and "." in found.module and found.target.startswith("plmtrain.commands.")
    )
    assert _told(found for found in between if verb(found.module) != verb(found.target)) == []


def test_every_folder_says_what_lives_there() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), name
