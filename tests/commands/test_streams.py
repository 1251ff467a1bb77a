"""Standard streams that are closed, full, or without Unicode: the work goes on, and its exit code says how it went.

And streams in place of files, which may never end.
"""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from support.command_line import plmtrain, start
from support.tiny_text import FINETUNE, PRETRAIN, TEXT, write_texts

RUN = ["pretrain", *PRETRAIN, *TEXT, "trainer.steps=2"]
TEXTS = ["text 한국어 [MASK]", "naïve [MASK]"]
COMMANDS = {
    "list": ["list"],
    "matrix": ["list", "matrix"],
    "check": ["check", *RUN[1:], "name=other"],
    "tokenizer": ["tokenizer", "out", *RUN[1:]],
    "prepare": ["prepare", *RUN[1:]],
    "inspect": ["inspect", *RUN[1:]],
    "pretrain": [*RUN, "name=other"],
    "predict": ["predict", "runs/한국", *TEXTS],
    "asked nothing": ["predict", "runs/한국"],
    "verify": ["verify", "runs/한국"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, and a finished run whose name is not ASCII."""
    folder = tmp_path_factory.mktemp("work")
    write_texts(folder)
    result = plmtrain(*RUN, 'name="한국"', cwd=folder)
    assert result.code == 0, result.err
    return folder


@pytest.fixture
def work(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "work", copy_function=shutil.copy2)
    return tmp_path / "work"


def _begin_with(out: io.TextIOBase | None, error: io.TextIOBase | None) -> None:
    sys.stdout, sys.stderr = out, error  # type: ignore[assignment]


def closed() -> None:
    """``<&- >&- 2>&-``: Python then has None for each."""
    _begin_with(None, None)
    os.closerange(0, 3)


def no_input() -> None:
    """``<&-``."""
    os.close(0)


def no_output() -> None:
    """``>&-``."""
    _begin_with(None, sys.stderr)
    os.close(1)


def unread() -> None:
    """Pipes that nobody reads any more."""
    for number in (1, 2):
        reading, writing = os.pipe()
        os.dup2(writing, number)
        os.close(reading)
        os.close(writing)


def full() -> None:
    """A full disk."""
    full_disk = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full_disk, 1)
    os.dup2(full_disk, 2)


def speak(encoding: str) -> None:
    """``PYTHONIOENCODING``."""
    _begin_with(*(io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding=encoding) for number in (1, 2)))


def ascii_only() -> None:
    """``PYTHONIOENCODING=ascii``."""
    speak("ascii")


CASES = [
    *((closed, command) for command in ("list", "tokenizer", "pretrain", "predict")),
    (no_input, "asked nothing"),
    *((no_output, command) for command in ("list", "predict")),
    *((unread, command) for command in ("matrix", "inspect", "prepare", "verify")),
    *((ascii_only, command) for command in ("matrix", "check", "inspect", "tokenizer")),
]


@pytest.mark.parametrize(("streams", "command"), CASES, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_nothing_depends_on_the_streams(work: Path, streams: Callable[[], None], command: str) -> None:
    result = plmtrain(*COMMANDS[command], cwd=work, before=streams)
    assert result.code == 0, result.err
    assert (result.out + result.err).isascii()
    assert "Error" not in result.err


def test_a_full_disk_ends_what_only_prints(work: Path) -> None:
    """What a command leaves on the disk is not worth less because nobody could be told."""
    assert plmtrain(*COMMANDS["pretrain"], cwd=work, before=full).code == 0
    assert json.loads((work / "runs/other/status.json").read_text())["state"] == "finished"
    assert plmtrain(*COMMANDS["predict"], cwd=work, before=full).code == 7


@pytest.mark.parametrize("encoding", ["ascii", "cp949"])
def test_what_an_encoding_lacks_is_escaped(work: Path, encoding: str) -> None:
    result = plmtrain(*COMMANDS["predict"][:2], "--json", *TEXTS, cwd=work, before=partial(speak, encoding))
    assert result.code == 0, result.err
    assert [json.loads(line)["text"] for line in result.out.splitlines()] == TEXTS
    result = plmtrain("evaluate", "runs/nirgends한", cwd=work, before=partial(speak, encoding))
    assert result.code == 2
    printed = (work / ".command.err").read_bytes().decode(encoding)
    assert "runs/nirgends한" in printed or r"runs/nirgends\ud55c" in printed


def test_standard_input_that_never_comes(work: Path) -> None:
    """One signal is enough to stop waiting for it."""
    reading, writing = os.pipe()
    child = start("predict", "runs/한국", cwd=work, before=lambda: os.dup2(reading, 0))
    os.write(writing, b"half a line [MASK]")
    end = time.monotonic() + 60
    while psutil.Process(child.pid).status() != psutil.STATUS_SLEEPING and time.monotonic() < end:
        time.sleep(0.05)
    assert child.pid is not None
    child.terminate()
    child.join(60)
    assert child.exitcode == 75
    os.close(reading)
    os.close(writing)


def test_a_line_that_is_typed_is_answered_at_once(work: Path) -> None:
    controller, terminal = pty.openpty()
    child = start("predict", "runs/한국", cwd=work, name="typing", before=lambda: os.dup2(terminal, 0))
    out = work / ".typing.out"
    told = 0
    for text in TEXTS:
        os.write(controller, f"{text}\n".encode())
        end = time.monotonic() + 60
        while not (out.exists() and out.stat().st_size > told) and time.monotonic() < end:
            time.sleep(0.05)
        assert out.stat().st_size > told
        assert child.exitcode is None
        told = out.stat().st_size
    os.write(controller, b"\x04")
    child.join(60)
    assert child.exitcode == 0
    assert "Ctrl-D ends" in (work / ".typing.err").read_text()
    os.close(controller)
    os.close(terminal)


PIPE = "this file cannot be read: it is a named pipe, and only regular files are read"
DEVICE = PIPE.replace("named pipe", "device")
AGAIN = "name regular files: a run reads them again when it is resumed"
ENDLESS = {
    "text": (["pretrain", *PRETRAIN, "data=text", "data.files=[pipe]"], 3, [PIPE, "data.files: pipe", AGAIN]),
    "text from a device": (
        ["prepare", *PRETRAIN, "data=text", "data.files=[/dev/zero]"],
        3,
        [DEVICE, "data.files: /dev/zero", AGAIN],
    ),
    "JSON": (["check", *PRETRAIN, "data=jsonl", "data.files=[/dev/urandom]"], 3, []),
    "examples": (
        ["finetune", *FINETUNE, "data.files=[train.tsv]", "data.validation_files=[pipe]"],
        3,
        [PIPE, "data.validation_files: pipe", AGAIN],
    ),
    "texts": (["predict", "runs/한국", "--file", "pipe"], 3, [PIPE, "pipe", "check its permissions and its name"]),
    "a model": (
        ["import", "foreign", "out"],
        2,
        [
            "config.json cannot be read: it is a named pipe, and only regular files are read",
            "foreign/config.json",
            "this folder cannot be used",
        ],
    ),
    "settings": (["pretrain", *PRETRAIN, "--config-dir", "mine", "data=own"], 2, []),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_only_regular_files_are_read(trained: Path, name: str) -> None:
    """Opening a pipe waits for whoever writes into it, and a device may have no end."""
    for path in ("pipe", "foreign/config.json", "mine/data/own.yaml"):
        if not (trained / path).exists():
            (trained / path).parent.mkdir(parents=True, exist_ok=True)
            os.mkfifo(trained / path)
    arguments, code, told = ENDLESS[name]
    result = plmtrain(*arguments, cwd=trained)
    assert result.code == code, result.err
    assert "only regular files are read" in result.out + result.err
    assert not told or result.err.splitlines() == told


def test_a_file_whose_name_is_not_utf_8(trained: Path) -> None:
    (trained / "texts").mkdir()
    (trained / "texts" / os.fsdecode(b"caf\xe9")).write_text("some text")
    result = plmtrain("check", *PRETRAIN, "data=text", "data.files=[texts]", cwd=trained)
    assert result.code == 3
    assert r"data.files: texts/caf\xe9" in result.out
