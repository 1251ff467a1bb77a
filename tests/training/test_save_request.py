"""A request for a checkpoint reaches the process that can answer it, and harms no other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from plmtrain.errors import SettingsError
from plmtrain.training import launch, save_request
from plmtrain.training.group import Group
from plmtrain.training.lock import Owner

WAITS = "import signal; signal.signal(signal.SIGUSR2, lambda *_: exit(0)); print('ready', flush=True); signal.pause()"


def waiting(program: str = WAITS) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_the_parent_of_several_processes_passes_it_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save_request, "_asked", True)
    assert launch._wait([waiting(), waiting()]) == [0, 0]
    assert not save_request.asked()


def test_one_from_before_the_processes_is_forgotten_and_one_before_they_watch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal would end a process that does not watch yet."""
    program = (
        "import time; from plmtrain.training import save_request; print('ready', flush=True); time.sleep(0.3); "
        "save_request.watch(); exit(3 if save_request.asked() else 4)"
    )
    started = []

    def start(command: Any, **others: Any) -> subprocess.Popen[bytes]:
        assert not save_request.asked()
        started.append(waiting(program))
        started[-1].send_signal(save_request.SIGNAL)
        return started[-1]

    monkeypatch.setattr(launch, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))
    monkeypatch.setattr(save_request, "_asked", True)
    assert launch.launch_processes([], 1) == 3
    assert [process.wait() for process in started] == [3]


def test_the_owner_is_asked() -> None:
    process = waiting()
    save_request.ask(replace(Owner.this_process(), pid=process.pid))
    assert process.wait(30) == 0


def test_a_process_that_the_signal_would_end_is_left_alone() -> None:
    process = waiting("import time; print('ready', flush=True); time.sleep(60)")
    try:
        with pytest.raises(SettingsError, match="takes no requests"):
            save_request.ask(replace(Owner.this_process(), pid=process.pid))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_an_owner_elsewhere_or_gone_is_told() -> None:
    here = Owner.this_process()
    with pytest.raises(SettingsError, match="elsewhere"):
        save_request.ask(replace(here, host="another"))
    ended = waiting()
    ended.kill()
    ended.wait()
    with pytest.raises(SettingsError, match="has just ended"):
        save_request.ask(replace(here, pid=ended.pid))


@pytest.mark.parametrize("others", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (2.0, 3.0)])
def test_all_processes_agree_on_each_flag(others: tuple[float, float]) -> None:
    """Of two flags, neither is mistaken for the other."""
    group: Any = SimpleNamespace(size=3, device="cpu", sum=lambda numbers: numbers + torch.tensor(others))
    assert Group.anyone(group, False, False) == [other > 0 for other in others]
    assert Group.anyone(group, True, False) == [True, others[1] > 0]
