"""Milestones: checkpoints that are saved at their step and kept for ever, each of which can be used like a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.finished_run import SHAPE, finished_run
from support.tiny_run import TinyRun, in_child

from plmtrain.errors import CheckpointError, SettingsErrors
from plmtrain.interop.initial import weights_digest
from plmtrain.interop.load import load
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.training.checkpoint_manifest import Identity, folder_name, step_folders
from plmtrain.training.progress import Progress
from plmtrain.training.restore import load_run, tokenizer_folder
from plmtrain.training.run_folder import RunFolder, run_and_step

BOTH = ("trainer.milestones=[2]", "trainer.token_milestones=[784,10000]")
"""Steps of eight rows of 14 tokens: 784 tokens are those of seven steps, and there are no 10,000."""


def test_they_are_saved_and_kept_across_a_kill(tmp_path: Path) -> None:
    whole, killed, plain = (
        TinyRun(tmp_path / name, ("trainer.save_every=5", "trainer.keep=1", *milestones))
        for name, milestones in (
            ("whole", BOTH),
            ("killed", BOTH),
            ("plain", ()),
        )
    )
    assert in_child(whole.go) == 0
    assert list(step_folders(whole.folder.checkpoints_path)) == [2, 7, 12]
    for point in ("save.rename@2", "train.forward@6", "save.rename@10"):
        assert in_child(killed.go, point) != 0
    assert in_child(killed.go) == 0
    assert {2, 7, 12} <= set(step_folders(killed.folder.checkpoints_path))
    assert in_child(plain.go) == 0
    assert list(step_folders(plain.folder.checkpoints_path)) == [12]
    assert whole.digest() == killed.digest() == plain.digest()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of seven steps with a checkpoint of step 3, whose weights are others."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    finished_run(folder, ["model=bert", "objective=mlm"], SHAPE)
    checkpoints = RunFolder(folder).checkpoints(1, Identity("finished"), [3])
    last = checkpoints.newest()
    assert last is not None
    halved = {name: tensor / 2 for name, tensor in last.load("model").items()}
    checkpoints.save(3, {"model": halved}, Progress(step=3))
    checkpoints.save(7, {"model": last.load("model")}, Progress(step=7))
    return folder


def test_a_checkpoint_can_be_used_like_a_run(run: Path) -> None:
    place = run / "checkpoints" / folder_name(3)
    assert run_and_step(run) == (run, None)
    assert run_and_step(place) == (run, 3)
    earlier, last = load_run(place), load_run(run)
    assert (earlier.step, last.step, earlier.folder) == (3, 7, run)
    for one, other in zip(earlier.learner.parameters(), last.learner.parameters(), strict=True):
        assert torch.equal(one, other / 2)
    assert tokenizer_folder(place) == run / "tokenizer"
    assert weights_digest(place) != weights_digest(run)
    ids = torch.tensor([[2, 30, 40, 3]])
    assert not torch.equal(load(place).logits(ids), load(run).logits(ids))


def test_other_folders_are_no_checkpoints(run: Path, tmp_path: Path) -> None:
    for folder in (run / "checkpoints", run / "checkpoints" / folder_name(4), run / "tokenizer", tmp_path):
        assert run_and_step(folder) is None
    damaged = run / "checkpoints" / folder_name(3) / "model.safetensors"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + b"?")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_run(damaged.parent)
    damaged.write_bytes(content)


def test_a_milestone_after_the_last_step_is_refused() -> None:
    with pytest.raises(SettingsErrors, match="milestones has step 9, but steps is 8"):
        pretrain_settings(compose(["trainer.steps=8", "trainer.milestones=[3,9]"]))
