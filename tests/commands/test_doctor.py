"""plmtrain doctor says what the machine has, what a run gets of it, and what could be better."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

from plmtrain import limits
from plmtrain.commands.doctor import choices, machine, packages, run
from plmtrain.errors import SettingsError
from plmtrain.training.precision import choose_precision, precision_reason


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_json_says_what_the_system_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["machine"]["cores"] == limits.cores()
    assert told["versions"]["libraries"]["torch"] == version("torch")
    assert told["versions"]["bench"]["transformers"] == version("transformers")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert told["run"]["device"] == device.type
    assert told["run"]["precision"] == choose_precision("auto", device)
    assert told["run"]["precision_reason"] == precision_reason("auto", device)
    assert all(rate > 1e8 for rate in told["run"]["product_rates"].values())


def test_a_run_sleeps_while_it_waits_and_doctor_says_so() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    for wanted, said in ((None, "asleep (OMP_WAIT_POLICY=PASSIVE)"), ("ACTIVE", "- OMP_WAIT_POLICY=ACTIVE: threads spin")):
        done = subprocess.run(
            [sys.executable, "-m", "plmtrain", "doctor"],
            env=environment | ({} if wanted is None else {"OMP_WAIT_POLICY": wanted}) | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert said in done.stdout


@pytest.mark.parametrize(("chosen", "faster"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_a_precision_that_is_faster_than_the_chosen_one_is_named(
    monkeypatch: pytest.MonkeyPatch, chosen: str, faster: str
) -> None:
    monkeypatch.setattr(choices, "choose_precision", lambda wanted, device: chosen)
    for rate, advised in ((1.1e9, False), (2e9, True)):
        monkeypatch.setattr(choices, "product_rate", lambda *args, rate=rate, **named: rate if args[3] == faster else 1e9)
        advice = [line for line in choices.choices().advice if f"trainer.precision={faster}" in line]
        assert bool(advice) == advised


def test_libraries_that_are_missing_or_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=99", "no-such-thing>=1", "numpy>=1", 'absent>=2; extra == "eval"', 'other>=2; extra == "test"']
    monkeypatch.setattr(packages, "requires", lambda name: lines)
    part = packages.packages()
    assert part.values["libraries"] == {"torch": version("torch"), "no-such-thing": "", "numpy": version("numpy")}
    assert part.facts["eval"] == "no absent (pip install 'plmtrain[eval]')"
    assert "test" not in part.facts
    old, missing = part.advice
    assert "torch" in old
    assert "pip install 'torch>=99'" in old
    assert missing == "no-such-thing is not installed, and plmtrain needs it: pip install 'no-such-thing>=1'"


def test_little_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for size, busy in ((10**12, 0.0), (10**9, 64.0 * (os.cpu_count() or 1))):
        monkeypatch.setattr(limits, "memory", lambda size=size: size)
        monkeypatch.setattr(machine, "free_bytes", lambda path, size=size: size)
        monkeypatch.setattr(machine.os, "getloadavg", lambda busy=busy: (busy, 0.0, 0.0))
        assert bool(machine.machine().advice) == (size == 10**9)
    load, memory, disk = machine.machine().advice
    assert "trainer.threads" in load
    assert "953.7 MiB of memory is" in memory
    assert "plmtrain runs rm" in disk


def test_a_driver_without_a_torch_for_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(machine.torch.cuda, "device_count", lambda: 0)
    assert any("sees no GPU" in line for line in machine.machine().advice)


def test_a_driver_that_fails_is_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **named: object) -> float:
        raise RuntimeError("CUDA error: out of memory\nmore")

    monkeypatch.setattr(machine.torch.cuda, "device_count", failing)
    assert "the GPU's driver fails (CUDA error: out of memory): nvidia-smi shows its state" in machine.machine().advice
    monkeypatch.setattr(choices, "product_rate", failing)
    assert choices.choices().advice == ["a product of matrices fails on cpu: CUDA error: out of memory"]


def test_a_folder_that_cannot_be_written_to_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    assert any("cannot be written to" in line for line in machine.machine().advice)


def test_without_torch_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    known = packages.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "torch" else known(name))
    assert run([]) == 0
    told = capsys.readouterr().out
    assert "- the module torch is not there, and nothing runs without it: pip install plmtrain" in told
    assert "this machine has" not in told


def test_a_folder_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "requires", unknown)
    (advice,) = packages.packages().advice
    assert "without being installed" in advice


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(SettingsError, match="'model=bert'"):
        run(["model=bert"])
