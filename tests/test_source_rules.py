"""Rules that every source file keeps: nothing runs code out of a file, modules stay short and say what they are for."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "plmtrain").rglob("*.py"))
CODE = SOURCES + sorted(path for folder in ("scripts", "tests") for path in (ROOT / folder).rglob("*.py"))

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "torch.jit.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "np.fromfile",
    "hydra.utils.instantiate",
    "hydra.utils.call",
    "instantiate",
}
FORBIDDEN_ARGUMENTS = {"shell", "allow_pickle", "trust_remote_code"}
MAX_LINES = 400


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def faults(source: str) -> list[str]:
    """What in a source could run code out of a file or a string, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            modules = []
        found += [f"{node.lineno}: import of {name}" for name in modules if name.split(".")[0] in FORBIDDEN_MODULES]
        found += [f"{node.lineno}: import of {name}" for name in modules if name in FORBIDDEN_CALLS]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_CALLS:
                found.append(f"{node.lineno}: call of {called}")
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in FORBIDDEN_ARGUMENTS and not off:
                    found.append(f"{node.lineno}: argument {keyword.arg}")
        if isinstance(node, ast.Constant) and node.value == "_target_":
            found.append(f"{node.lineno}: _target_")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "import torch\ntorch.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import yaml\nyaml.load(text)",
        "from hydra.utils import instantiate",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "eval(text)",
    ],
)
def test_the_rule_sees_what_it_forbids(source: str) -> None:
    assert faults(source)


def test_the_rule_lets_the_harmless_pass() -> None:
    assert faults("model.eval()\nre.compile('x')\nmodel.compile()\nnp.load('x', allow_pickle=False)\nyaml.safe_load(text)") == []


def test_nothing_runs_code_out_of_a_file() -> None:
    assert len(SOURCES) > 50, "the sources were not read"
    found = {_name(path): faults(path.read_text("utf-8")) for path in SOURCES}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


OPENERS = {"plmtrain/files.py", "plmtrain/text/readers.py"}
"""The only modules that open a file for reading, a regular one; the second opens by gzip what the first has opened."""

KERNEL = {f"plmtrain/training/{name}.py" for name in ("lock", "machine", "memory", "save_request")} | {"plmtrain/limits.py"}
"""Those that read what the kernel tells in files of its own."""


def opened(source: str) -> list[str]:
    """The calls in a source that open a file for reading, each with its line."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    named = [(call, ast.unparse(call.func).rpartition(".")[2]) for call in calls]
    read = [call for call, name in named if name in ("read_text", "read_bytes") and isinstance(call.func, ast.Attribute)]
    for call, name in named:
        modes = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if name == "open" and (any(mode.startswith("r") for mode in modes) or not call.args):
            read.append(call)
    return [f"{call.lineno}: {ast.unparse(call)}" for call in read]


def test_one_module_opens_files() -> None:
    assert all(map(opened, ("path.open('rb')", "path.open()", "path.read_text('utf-8')")))
    assert not any(map(opened, ("path.open('xb')", "read_text(path)")))
    reading = {_name(path): opened(path.read_text("utf-8")) for path in SOURCES}
    assert {name: calls for name, calls in reading.items() if calls and name not in OPENERS | KERNEL} == {}


def test_one_module_prepares_consoles() -> None:
    """Rich's own ends the process when a pipe is closed."""
    made = re.compile(r"\bConsole\(")
    assert [_name(path) for path in SOURCES if made.search(path.read_text("utf-8"))] == []


def test_no_yaml_names_python() -> None:
    lines = [line for path in (ROOT / "conf").rglob("*.yaml") for line in path.read_text("utf-8").splitlines()]
    assert len(lines) > 100, "the YAML files were not read"
    assert [line for line in lines if re.match(r"\s*_\w+_\s*:", line) or "!!python" in line] == []


def test_modules_are_short() -> None:
    lengths = {_name(path): len(path.read_text("utf-8").splitlines()) for path in CODE}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_modules_and_public_names_say_what_they_are_for() -> None:
    bare = []
    for path in CODE:
        tree = ast.parse(path.read_text("utf-8"))
        if tree.body and not ast.get_docstring(tree):
            bare.append(_name(path))
        for node in tree.body if path in SOURCES else ():
            public = isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                bare.append(f"{_name(path)}: {node.name}")
    assert bare == []


def _tracked() -> list[Path]:
    """The files of the repository; without git, those that it would have."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    return [*CODE, *(ROOT / "conf").rglob("*.yaml"), *ROOT.glob("*.md"), *ROOT.glob("*.toml")]


def test_nothing_names_a_machine() -> None:
    """A path of the machine where it was written would be wrong on every other."""
    home = re.compile(r"/(?:home|Users)/\w+/|/root/|(?<![\w.])/work/")
    wrong = []
    for path in _tracked():
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt", ".sh", ""} and path != Path(__file__):
            lines = enumerate(path.read_text("utf-8").splitlines(), 1)
            wrong += [f"{_name(path)}:{number}: {line.strip()}" for number, line in lines if home.search(line)]
    assert wrong == []


AMERICAN = re.compile(
    r"\b(?:initializ\w*|normaliz(?:e|ed|es|ing|ation)|optimiz(?:ed|es|ing|ation)|randomiz\w*|behavior\w*|colors?|colored|centers?)\b",
    re.IGNORECASE,
)


def test_docstrings_are_british() -> None:
    """Names follow the libraries (``optimizer``); sentences do not."""
    wrong = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                sentences = re.sub(r"``.*?``", "", ast.get_docstring(node) or "", flags=re.DOTALL)
                wrong += [f"{_name(path)}: {word}" for word in AMERICAN.findall(sentences)]
    assert wrong == []


def unplain(source: str) -> list[str]:
    """Documentation strings that begin with "What", and names that only say that something was found, each with its line."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            if re.match(r"\s*What\b", node.value.value):
                wrong.append(f"{node.lineno}: {node.value.value.strip().splitlines()[0]}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            wrong += [f"{node.lineno}: {node.id}"] if node.id == "found" else []
        elif isinstance(node, ast.arg):
            wrong += [f"{node.lineno}: {node.arg}"] if node.arg == "found" else []
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            wrong += [f"{node.lineno}: {node.name}"] if node.name == "found" else []
    return wrong


@pytest.mark.parametrize(
    "source",
    [
        '"""What a module is for."""',
        'def f():\n    """What it gives."""',
        'class C:\n    size: int\n    """What it holds."""',
        "found = 1",
        "found: int = 1",
        "for found in ():\n    pass",
        "if found := 1:\n    pass",
        "f(lambda found: 1)",
        "def found():\n    pass",
        "def f(found):\n    pass",
    ],
)
def test_the_rule_of_language_sees_what_it_forbids(source: str) -> None:
    assert unplain(source)


def test_docstrings_and_names_say_what_a_thing_is() -> None:
    wrong = {_name(path): unplain(path.read_text("utf-8")) for path in SOURCES}
    assert {name: lines for name, lines in wrong.items() if lines} == {}
