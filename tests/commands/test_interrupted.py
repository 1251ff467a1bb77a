"""A run that is ended anywhere, by a kill or by a signal, comes to the same end by the same command; and it talks to nobody."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import command_line
from support.children import in_child, wait_for
from support.command_line import finish, plmtrain
from support.tiny_text import FINETUNE, PRETRAIN, TABLES, TEXT, write_texts

from plmtrain import stopping
from plmtrain.training import launch

RUN = ["pretrain", *PRETRAIN, *TEXT, "trainer.evaluate_every=4", "name=run"]
PREPARING = ["prep.tokenizer", "prep.encode", "prep.cache_commit"]
TRAINING = ["train.first_step", "train.backward@3", "optim.before_step@3", "optim.after_step@3", "eval@4"]
SAVING = ["save.open@4", "save.write@4", "save.fsync@4", "save.rename@4", "save.latest@4", "save.retention@6"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a finished run on it."""
    folder = tmp_path_factory.mktemp("whole")
    write_texts(folder)
    result = plmtrain(*RUN, cwd=folder)
    assert result.code == 0, result.err
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "runs/run/checkpoints/step-00000008/model.safetensors").read_bytes()


def ended_and_begun_again(whole: Path, tmp_path: Path, fault: str, code: int) -> None:
    """End a run, and go on with it: the same weights, nothing left over, and nothing to be done by hand."""
    shutil.copy(whole / "corpus.txt", tmp_path)
    if not fault.startswith("prep"):
        shutil.copytree(whole / "prepared", tmp_path / "prepared", copy_function=shutil.copy2)
    assert plmtrain(*RUN, cwd=tmp_path, fault=fault).code == code
    again = plmtrain(*RUN, cwd=tmp_path)
    assert again.code == 0, again.err
    assert weights(tmp_path) == weights(whole)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("point", ["prep.encode", "optim.before_step@3"])
def test_killed(whole: Path, tmp_path: Path, point: str) -> None:
    ended_and_begun_again(whole, tmp_path, f"{point}:kill9", -signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*PREPARING, *TRAINING, *SAVING])
def test_killed_anywhere(whole: Path, tmp_path: Path, point: str) -> None:
    ended_and_begun_again(whole, tmp_path, f"{point}:kill9", -signal.SIGKILL)


@pytest.mark.parametrize("fault", ["prep.encode:int", "optim.before_step@3:usr1"])
def test_asked_to_stop(whole: Path, tmp_path: Path, fault: str) -> None:
    ended_and_begun_again(whole, tmp_path, fault, 75)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["term", "int", "usr1"])
@pytest.mark.parametrize("point", [*PREPARING[:2], *TRAINING, *SAVING[:5]])
def test_asked_to_stop_anywhere(whole: Path, tmp_path: Path, point: str, action: str) -> None:
    ended_and_begun_again(whole, tmp_path, f"{point}:{action}", 75)


def test_asked_twice_it_ends_at_once(whole: Path, tmp_path: Path) -> None:
    """Without the save that a single signal would bring, and without harm; the run says what of it is kept."""
    shutil.copy(whole / "corpus.txt", tmp_path)
    shutil.copytree(whole / "prepared", tmp_path / "prepared", copy_function=shutil.copy2)
    ended = plmtrain(*RUN, cwd=tmp_path, fault="train.forward@3:term,train.backward@3:int")
    assert ended.code == 75
    assert "again to stop at once" in ended.err
    what, where, remedy = ended.err.splitlines()[-3:]
    assert what == "ended at once by a second signal (SIGINT): step 2 is kept"
    assert (where, remedy) == ("runs/run", "the same command resumes the run from there")
    status = json.loads((tmp_path / "runs/run/status.json").read_text())
    assert (status["state"], status["exit_code"], status["step"]) == ("interrupted", 75, 2)
    again = plmtrain(*RUN, cwd=tmp_path)
    assert again.code == 0, again.err
    assert "resuming from step 2" in again.out
    assert weights(tmp_path) == weights(whole)


def signalled() -> None:
    """A signal that came while the process was being started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping.SIGNALS)
    os.kill(os.getpid(), signal.SIGTERM)


FIRST = {
    "pretrain": RUN,
    "finetune": ["finetune", *FINETUNE, *TABLES],
    "prepare": ["prepare", *PRETRAIN, *TEXT],
    "tokenizer": ["tokenizer", *PRETRAIN, *TEXT],
    "check": ["check", *PRETRAIN, *TEXT],
    "inspect": ["inspect", *PRETRAIN, *TEXT],
    "evaluate": ["evaluate", "done"],
    "predict": ["predict", "done", "[MASK]"],
    "export": ["export", "done", "new"],
    "import": ["import", "theirs", "new"],
    "verify": ["verify", "done"],
}


@pytest.fixture(scope="module")
def theirs(whole: Path) -> Path:
    """The run's export."""
    assert plmtrain("export", "runs/run", "theirs", cwd=whole).code == 0
    return whole / "theirs"


@pytest.mark.parametrize("verb", FIRST)
def test_a_signal_before_the_first_line(whole: Path, theirs: Path, tmp_path: Path, verb: str) -> None:
    for name in ("corpus.txt", "train.tsv", "dev.tsv"):
        shutil.copy(whole / name, tmp_path)
    (tmp_path / "done").symlink_to(whole / "runs/run")
    (tmp_path / "theirs").symlink_to(theirs)
    result = plmtrain(*FIRST[verb], cwd=tmp_path, before=signalled)
    assert result.code == 75, result.err
    assert "stopped by SIGTERM" in result.err
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_handler_comes_before_everything_else() -> None:
    """A signal before it kills the process, so that next to nothing is imported until then."""
    program = (
        "import sys; before = set(sys.modules); from plmtrain import cli, stopping; "
        "stopping.watch = lambda: sys.exit(' '.join(sys.modules.keys() - before)); cli.console()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    imported = set(done.stderr.split())
    ours = {name for name in imported if name.startswith("plmtrain")}
    assert ours == {"plmtrain", "plmtrain.cli", "plmtrain.errors", "plmtrain.stopping"}
    assert not imported & {"dataclasses", "inspect", "difflib", "pathlib", "tempfile", "logging", "json", "rich", "numpy"}


def test_a_signal_while_processes_are_being_started(whole: Path, tmp_path: Path) -> None:
    """It reaches both before they have read a line of their program, and is forwarded once."""
    shutil.copy(whole / "corpus.txt", tmp_path)
    shutil.copytree(whole / "prepared", tmp_path / "prepared", copy_function=shutil.copy2)

    def launch_two() -> None:
        os.chdir(tmp_path)
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(launch.launch_processes(RUN, 2))

    child = in_child(launch_two)
    wait_for([child], 120)
    assert child.exitcode == 75


def test_it_connects_to_nobody(whole: Path, tmp_path: Path) -> None:
    """From the text to the last step nothing is looked up or connected to, and nothing is asked."""
    shutil.copy(whole / "corpus.txt", tmp_path)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            os._exit(99)

    def alone() -> None:
        sys.addaudithook(refuse)
        command_line._run(RUN, tmp_path, name="alone")

    child = multiprocessing.get_context("fork").Process(target=alone, name="alone")
    child.start()
    result = finish(child, tmp_path)
    assert result.code == 0, result.err
    assert weights(tmp_path) == weights(whole)
