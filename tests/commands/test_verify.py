"""plmtrain verify names what is damaged, file by file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plmtrain.commands.verify import run
from plmtrain.errors import CheckpointError, SettingsError
from plmtrain.training.checkpoint_manifest import Identity
from plmtrain.training.progress import Progress
from plmtrain.training.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_run(tmp_path / "run")


def new_run(path: Path) -> Path:
    run_folder = RunFolder(path).create()
    run_folder.write_config({"seed": 1})
    run_folder.write_status("finished", 0)
    checkpoints = run_folder.checkpoints(keep=3, identity=Identity(run_folder.run_id))
    for step in (1, 2):
        weight = {"weight": torch.full((7,), float(step))}
        checkpoints.save(step, {"model": weight, "optimizer": weight}, Progress(step=step))
    return path


def test_a_sound_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(folder)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == "8 files of 2 checkpoints are intact"
    assert len(lines) == 8
    assert all(line.endswith(": ok") for line in lines)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "progress.json", "manifest.json"])
def test_a_damaged_file_is_named(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "checkpoints" / "step-00000001" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        run([str(folder)])
    assert caught.value.exit_code == 4
    assert f"step-00000001/{name}" in caught.value.where
    assert f"step-00000001/{name}: DAMAGED, content changed" in capsys.readouterr().out


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "checkpoints" / "step-00000002" / "extra").touch()
    with pytest.raises(CheckpointError):
        run([str(folder), "--json"])
    files = json.loads(capsys.readouterr().out)["files"]
    assert [one for one in files if one["problem"]] == [
        {"checkpoint": "step-00000002", "file": "extra", "problem": "does not belong here"}
    ]


def test_a_checkpoint_of_another_run(folder: Path, tmp_path: Path) -> None:
    other = new_run(tmp_path / "other") / "checkpoints" / "step-00000002"
    shutil.rmtree(folder / "checkpoints" / "step-00000002")
    shutil.copytree(other, folder / "checkpoints" / "step-00000002")
    with pytest.raises(CheckpointError, match="1 of 8 files"):
        run([str(folder)])


def test_deleted_checkpoints(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(CheckpointError, match="step-00000002"):
        run([str(folder)])


def test_a_run_before_its_first_checkpoint(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_config({"seed": 1})
    assert run([str(tmp_path)]) == 0


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["no/such/folder"]])
def test_what_is_no_run(arguments: list[str]) -> None:
    with pytest.raises(SettingsError):
        run(arguments)


def test_it_needs_no_torch(folder: Path) -> None:
    code = f"import sys; from plmtrain.commands.verify import run; run([{str(folder)!r}]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
