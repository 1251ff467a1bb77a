"""Every command on the README and the pages of docs/ is one that plmtrain takes; every file and link that they name is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.documents import PAGES, ROOT, blocks, words_of, write_files

from plmtrain import errors, help
from plmtrain.runs.command_settings import kind_for
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices
from plmtrain.settings.decode import run_settings
from plmtrain.settings.kinds import EVALUATE
from plmtrain.settings.lookup import objective_classes

BLOCKS = {page: blocks(page) for page in PAGES}
COMMANDS = [(page, line) for page, found in BLOCKS.items() for block in found for line in block.commands]
TEXTS = {page: page.read_text("utf-8") for page in PAGES}


def test_the_pages_were_read() -> None:
    assert len(PAGES) >= 6
    assert len(COMMANDS) >= 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_say_what_they_are(page: Path) -> None:
    assert {block.language for block in BLOCKS[page]} <= {"sh", "python", "yaml", "json", "text"}


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page.name}: {line[:60]}" for page, line in COMMANDS])
def test_a_command_is_valid(page: Path, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files([block for block in BLOCKS[page] if block.language == "yaml"], tmp_path)
    words = words_of(command)
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text("utf-8")
        assert set(words[1:]) <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
        return
    assert words[0] == "plmtrain"
    verb = words[1]
    assert verb in help.VERBS
    if "objective=random_tokens" in words:
        return  # of docs/extending.md: it needs the files of that page, and is run with them (test_extending.py)
    if help.VERBS[verb].composes:
        own = help.VERBS[verb].options
        taken = [
            word
            for word in words[2:]
            if word not in own and ("=" in word or word.startswith("-") or word == "mine" or word.endswith(".yaml"))
        ]
        options = parse_arguments(taken)
        if any(word.startswith("runs/") for word in options.overrides):
            return  # a run that an earlier command of the page makes: the example is run whole (test_worked_examples.py)
        kind = kind_for(verb, options.overrides)
        for one in _jobs(options.overrides) if options.multirun else [options.overrides]:
            run_settings(compose(one, options.config_dir, kind.primary), kind)
    elif verb == "evaluate" and (scoring := [word for word in words if word.startswith(("scoring=", "scoring."))]):
        run_settings(compose(scoring, None, EVALUATE.primary), EVALUATE)


def _jobs(overrides: Sequence[str]) -> Iterator[list[str]]:
    """The jobs of a sweep in which each value of a key appears once."""
    settings = [text for text in overrides if not text.startswith("hydra.")]
    values = [
        [f"{key}={value}" for value in _values(key, values)] for key, _, values in (text.partition("=") for text in settings)
    ]
    for number in range(max(map(len, values))):
        yield [choices[min(number, len(choices) - 1)] for choices in values]


def _values(key: str, values: str) -> list[str]:
    """The values of a key, or the members of a suite of tasks."""
    return [name for name in choices("task") if key == "task" and name.startswith(f"{values}/")] or values.split(",")


def test_the_walk_masks_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    page = next(page for page in PAGES if page.name == "walk.md")
    (code,) = (block.text for block in BLOCKS[page] if block.language == "python")
    exec(code, {})
    first, second = capsys.readouterr().out.splitlines()
    # 15 % of 22 tokens are three; the labels are the tokens at those positions.
    numbers = [[int(number) for number in re.findall(r"\d+", line)] for line in (first, second)]
    for epoch, *found in numbers:
        positions, labels = found[:3], found[3:6]
        assert len(found) == 9, epoch
        assert [position + 9 for position in positions] == labels
    assert numbers[0][1:4] != numbers[1][1:4]


def test_the_readme_has_every_verb() -> None:
    assert set(re.findall(r"`plmtrain ([a-z]+)", TEXTS[PAGES[0]])) == set(help.VERBS)


def test_every_objective_is_explained_and_every_system_is_in_the_table() -> None:
    page = next(page for page in PAGES if page.name == "objectives.md")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", TEXTS[page], re.DOTALL | re.MULTILINE))
    assert set(sections) == set(choices("objective"))
    for name, section in sections.items():
        assert all(word in section for word in ("```text", "- Settings: ", "- Paper", "Model: ", "- The classic mistake: ")), name
    keys = {key for section in sections.values() for key in re.findall(r"`(objective\.\w+)`", section)}
    known = {f"objective.{key}" for settings in objective_classes().values() for key in settings.model_fields}
    assert keys <= known
    for group in ("model", "experiment"):
        assert all(f"`{choice}`" in TEXTS[PAGES[0]] or f"={choice}`" in TEXTS[PAGES[0]] for choice in choices(group)), group


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_are_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", TEXTS[page]):
        assert (page.parent / target).exists(), target
    own = {block.file for found in BLOCKS.values() for block in found}
    for named in re.findall(r"`((?:tests|plmtrain|conf|scripts|docs)/[\w./-]+\.\w+)`", TEXTS[page]):
        placeholder = re.search(r"/(?:NAME|TYPE|FAMILY)\.", named)
        assert placeholder or named in own or (ROOT / named).is_file(), named


def test_every_guarantee_has_its_proof() -> None:
    page = next(page for page in PAGES if page.name == "guarantees.md")
    rows = [line for line in TEXTS[page].splitlines() if line.startswith("| ") and not line.startswith("| guarantee ")]
    assert len(rows) > 30
    for row in rows:
        proofs = re.findall(r"`(tests/[^`]+)`", row.split("|")[2])
        assert proofs, row
        for proof in proofs:
            file, *names = proof.split("::")
            assert names, f"{proof} names no test"
            assert why_not_run(ROOT / file, names) == "", proof


def why_not_run(path: Path, names: Sequence[str]) -> str:
    """Say why pytest would not run a test; empty if it would.

    Args:
        path: the file.
        names: of the class that it is in, if it is in one, and of the test.
    """
    if not path.is_file():
        return "there is no such file"
    skips = ("skip", "skipif", "xfail", "importorskip")
    body = ast.parse(path.read_text("utf-8")).body
    outside = [node for node in body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for depth, name in enumerate(names):
        found = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name]
        if len(found) != 1 or not name.startswith("test_" if depth == len(names) - 1 else "Test"):
            return f"there is no {name}, or there are several"
        outside += found[0].decorator_list
        body = found[0].body
    mentioned = {node.attr for part in [*outside, *body] for node in ast.walk(part) if isinstance(node, ast.Attribute)}
    return ", ".join(sorted(mentioned.intersection(skips)))


@pytest.mark.parametrize(
    ("text", "names", "problem"),
    [
        ("def test_a():\n    assert True\n", ["test_a"], ""),
        ("class TestA:\n    def test_a(self):\n        pass\n", ["TestA", "test_a"], ""),
        ("def test_a():\n    pass\n", ["test_b"], "there is no test_b, or there are several"),
        ("def test_a():\n    pass\n\ndef test_a():\n    pass\n", ["test_a"], "there is no test_a, or there are several"),
        ("@pytest.mark.xfail\ndef test_a():\n    pass\n", ["test_a"], "xfail"),
        ("@pytest.mark.skipif(True)\nclass TestA:\n    def test_a(self):\n        pass\n", ["TestA", "test_a"], "skipif"),
        ("def test_a():\n    if True:\n        pytest.skip('no')\n", ["test_a"], "skip"),
        ("torch = pytest.importorskip('torch')\ndef test_a():\n    pass\n", ["test_a"], "importorskip"),
    ],
)
def test_a_proof_that_pytest_does_not_run_is_none(tmp_path: Path, text: str, names: list[str], problem: str) -> None:
    (tmp_path / "test_it.py").write_text(text)
    assert why_not_run(tmp_path / "test_it.py", names) == problem


def test_every_exit_code_is_explained() -> None:
    page = next(page for page in PAGES if page.name == "exit-codes.md")
    explained = [int(code) for code in re.findall(r"^\| (\d+) \|", TEXTS[page], re.MULTILINE)]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PlmtrainError)]
    assert explained == sorted({0, *(kind.exit_code for kind in kinds)})
    assert set(explained) == {int(code) for code in re.findall(r"\b(\d+) [a-z]", help.EXIT_CODES)}
