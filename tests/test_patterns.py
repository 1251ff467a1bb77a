"""Every regular expression of the package takes time that is linear in the length of the text, whatever the text."""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import plmtrain
from plmtrain.redaction import redact_text
from plmtrain.text.prose import paragraphs
from plmtrain.text.sentences import boundaries

PACKAGE = Path(plmtrain.__file__).parent

SHORT, LONG = 500, 8_000
GROWTH = 4 * LONG / SHORT
"""A quadratic search takes 16 times as much more time as this allows; a linear one a quarter of it."""
MEASURABLE = 2e-4
"""Seconds; shorter times are as long as the noise of the clock."""

METHODS = {"match", "fullmatch", "search", "sub", "split", "findall", "finditer"}
CHARACTERS = [*"aA0 _-.,;:!?'\"([<`|\\/@#$%&*+=~\t\n\r", "é", "あ", "。", "」", "한"]
PAIRS = ["a.", "a-", "a_", "a ", "a0", "a=", "a:", "a/", "(a", "[1", "*a", "::", "://", "\n ", " \n", ". ", '\\"', "a'"]


def _called(tree: ast.Module) -> dict[str, set[str]]:
    """The methods that a module uses of each of its names."""
    methods: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            methods.setdefault(node.value.id, set()).add(node.attr)
    return methods


def _method_of_re(call: ast.Call) -> str | None:
    """The function of the module ``re`` that is called, if it is one."""
    function = call.func
    of_re = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re"
    return function.attr if of_re else None


def _inside(value: Any) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _inside(item)


def _patterns() -> Iterator[tuple[str, re.Pattern[str], str]]:
    """Every pattern with its place and each method that the package calls on it: compiled by a module, or written in a call."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE.parent).with_suffix("")
        if place.name == "__main__":
            continue
        text = path.read_text("utf-8")
        module = importlib.import_module(".".join(place.parts).removesuffix(".__init__"))
        own = [(name, pattern) for name, value in vars(module).items() for pattern in _inside(value)]
        if not own and "re." not in text:
            continue
        tree = ast.parse(text)
        called = _called(tree)
        for name, pattern in own:
            for method in sorted(called.get(name, set()) & METHODS) or ["sub"]:
                yield f"{place}.{name}", pattern, method
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and (method := _method_of_re(node)) in METHODS
                and isinstance(node.args[0], ast.Constant)
            ):
                yield f"{place}:{node.lineno}", re.compile(node.args[0].value), method


PATTERNS = list({(pattern, method): (place, pattern, method) for place, pattern, method in _patterns()}.values())


def _seconds(action: Callable[[str], Any], text: str) -> float:
    began = time.thread_time()
    action(text)
    return time.thread_time() - began


def grows_too_fast(action: Callable[[str], Any], unit: str, end: str) -> bool:
    """Whether a text of repetitions of one unit takes much more than proportional time; measured again before it counts."""
    short, long = (unit * (length // len(unit)) + end for length in (SHORT, LONG))
    for _ in range(3):
        allowed = GROWTH * max(MEASURABLE, _seconds(action, short))
        if _seconds(action, long) <= allowed:
            return False
    return True


def _action(pattern: re.Pattern[str], method: str) -> Callable[[str], Any]:
    if method in ("search", "sub"):  # a search that finds nothing has the worst time, and a substitution goes on after it
        return lambda text: pattern.sub("", text)
    if method == "finditer":
        return lambda text: sum(1 for _ in pattern.finditer(text))
    return getattr(pattern, method)


def test_the_measure_sees_quadratic_time() -> None:
    assert grows_too_fast(_action(re.compile(r"\s+$"), "search"), " ", "x")
    assert not grows_too_fast(_action(re.compile(r"(?<!\s)\s+$"), "search"), " ", "x")


def test_all_patterns_are_read() -> None:
    """A pattern that is put together when it is used would not be measured: it must not read other people's text."""
    assert len(PATTERNS) > 40
    put_together = []
    users = [path for path in PACKAGE.rglob("*.py") if "import re\n" in path.read_text("utf-8")]
    for path in users:
        for function in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                uses = isinstance(node, ast.Call) and _method_of_re(node) not in (None, "escape")
                if uses and not isinstance(node.args[0], ast.Constant):
                    put_together.append(f"{path.name}: {function.name}")
    assert put_together == ["files.py: clear_leftovers_of"]  # one escaped name


@pytest.mark.parametrize(("place", "pattern", "method"), PATTERNS, ids=[f"{place}-{method}" for place, _, method in PATTERNS])
def test_every_pattern_is_linear(place: str, pattern: re.Pattern[str], method: str) -> None:
    words = re.findall(r"[A-Za-z]{2,}", pattern.pattern)
    own = [word + sign for word in dict.fromkeys(words) for sign in ("", "-", "_", ".", '="')][:30]
    action = _action(pattern, method)
    texts = ((unit, end) for unit in CHARACTERS + PAIRS + own for end in ("", "\0"))
    assert next((text for text in texts if grows_too_fast(action, *text)), None) is None


@pytest.mark.parametrize("unit", [" ", ".", "a", "A.", "。", "\n", ". ", '"', "` ", "a.b ", "1"])
@pytest.mark.parametrize(
    "action", [boundaries, redact_text, lambda text: list(paragraphs(text))], ids=["sentences", "redaction", "prose"]
)
def test_readers_of_text_are_linear(action: Callable[[str], Any], unit: str) -> None:
    """What stands around the patterns, too."""
    assert not grows_too_fast(action, unit, "x")
