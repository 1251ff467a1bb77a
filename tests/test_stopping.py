"""Signals are answered at once, even inside one long call of a library, and the second one ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import plmtrain

PROGRAM = textwrap.dedent(
    """
    import hashlib, os, signal, sys, time
    from plmtrain import stopping
    stopping.watch()
    stopping.announce(True)
    stopping.until(lambda: "after this step (about 40 s)")
    stopping.before_the_end(lambda name: f"{name.name}: step 3 is kept")
    if "fork" in sys.argv:
        child = os.fork()
        if not child:
            signal.alarm(1)  # in case the other signal comes before the pause
            print(os.getpid(), flush=True)
            signal.pause()
            os._exit(7)
        os.waitpid(child, 0)
        time.sleep(0.2)
        print("parent", stopping.requested(), flush=True)
        sys.exit(0)
    print("ready", flush=True)
    if "harmless" in sys.argv:
        with stopping.ending_at_once():
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # half an hour in one call, as a backward pass on a slow machine
    """
)


def started(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(plmtrain.__file__).parents[1])}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_answered_at_once_and_ended_by_the_second(first: signal.Signals) -> None:
    process = started()
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)  # until it is inside the call
    process.send_signal(first)
    assert process.stderr.readline() == "\n"
    again = "" if first is signal.SIGUSR1 else "; again to stop at once"
    assert process.stderr.readline() == f"stopping after this step (about 40 s){again}\n"
    process.send_signal(signal.SIGUSR1)  # a scheduler may warn as often as it likes
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 75
    assert process.stderr.read() == "\nSIGINT: step 3 is kept\n"


def test_a_forked_childs_signal_is_not_its_parents() -> None:
    process = started("fork")
    assert process.stdout is not None
    os.kill(int(process.stdout.readline()), signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert out == "parent None\n"
    assert err.count("stopping") <= 1  # the child's own


def test_work_that_writes_nothing_ends_by_the_first() -> None:
    process = started("harmless")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)  # until it is inside the call
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    assert process.stderr.read() == "\nstopped by SIGTERM\nrun the same command again\n"


def test_a_signal_after_the_work_changes_nothing() -> None:
    """Python gives signals back their default at its end, unless they are ignored."""
    program = (
        "import atexit, signal, sys; from plmtrain import cli; sys.argv[1:] = ['--version']; "
        "atexit.register(lambda: print([signal.getsignal(number).name for number in cli.stopping.SIGNALS])); cli.console()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(plmtrain.__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == str(["SIG_IGN"] * 3)
