"""Saving and finding checkpoints: what is saved comes back, older ones go in time, and no damage goes unseen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from plmtrain import faults
from plmtrain.errors import CheckpointError, DiskError
from plmtrain.training.checkpoint import Checkpoint, Checkpoints
from plmtrain.training.checkpoint_manifest import Identity, check_checkpoint
from plmtrain.training.progress import Progress

RUN = Identity("run-a", "settings", "tokenizer", "data")


def tensors(step: int) -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(step)
    return {
        "model": {"weight": torch.randn(4, 3, generator=generator), "bias": torch.randn(3, generator=generator)},
        "optimizer": {"weight.exp_avg": torch.randn(4, 3, generator=generator)},
        "carry": {},
    }


def save(checkpoints: Checkpoints, step: int, best_step: int | None = None) -> Path:
    return checkpoints.save(step, tensors(step), Progress(step=step, best_metric=1 / step), best_step)


def saved(tmp_path: Path, *steps: int, keep: int = 9, identity: Identity = RUN) -> Checkpoints:
    tmp_path.mkdir(exist_ok=True)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep, identity)
    for step in steps:
        save(checkpoints, step)
    return checkpoints


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


def assert_holds(checkpoint: Checkpoint | None, step: int) -> None:
    assert checkpoint is not None
    assert checkpoint.step == checkpoint.progress.step == step
    for group, named in tensors(step).items():
        loaded = checkpoint.load(group)
        assert loaded.keys() == named.keys()
        assert all(torch.equal(loaded[name], named[name]) for name in named)


class TestRoundTrip:
    def test_everything_comes_back(self, tmp_path: Path) -> None:
        path = saved(tmp_path, 7).folder / "step-00000007"
        assert sorted(file.name for file in path.iterdir()) == [
            "manifest.json",
            "model.safetensors",
            "optimizer.safetensors",
            "progress.json",
        ]
        found = Checkpoints(tmp_path / "checkpoints", 9, RUN).newest()
        assert_holds(found, 7)
        assert found is not None
        assert found.identity == RUN
        assert found.progress == Progress(step=7, best_metric=1 / 7)

    def test_every_kind_of_tensor_as_the_library_reads_it(self, tmp_path: Path) -> None:
        base = torch.randn(6, 4)
        model = {
            "transposed": base.t(),
            "row": base[2],
            "strided": base[::2, 1::2],
            "same": base,
            "shared": base,
            "scalar": torch.tensor(3.5),
            "empty": torch.zeros(0, 5),
            "flags": base > 0,
            "nan": torch.tensor([float("nan"), float("-inf"), -0.0]),
            "grad": torch.nn.Parameter(base.clone()),
            "Ü/名.x": torch.ones(1),
            **{
                str(dtype): (base * 10).to(dtype)
                for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8)
            },
            **{str(dtype): (base.abs() * 10).to(dtype) for dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64)},
        }
        checkpoints = Checkpoints(tmp_path / "checkpoints", 1, RUN)
        path = checkpoints.save(1, {"model": model}, Progress(step=1))
        read = load_file(path / "model.safetensors")
        assert read.keys() == model.keys()
        for name, tensor in model.items():
            assert read[name].dtype == tensor.dtype
            assert read[name].shape == tensor.shape
            assert torch.equal(
                read[name].reshape(-1).view(torch.uint8), tensor.detach().contiguous().reshape(-1).view(torch.uint8)
            )

    def test_equal_tensors_give_equal_bytes_in_any_order(self, tmp_path: Path) -> None:
        named = tensors(1)["model"]
        for name, order in (("a", list(named)), ("b", list(reversed(named)))):
            (tmp_path / name).mkdir()
            Checkpoints(tmp_path / name / "checkpoints", 1, RUN).save(
                1, {"model": {key: named[key] for key in order}}, Progress(step=1)
            )
        first, second = (tmp_path / name / "checkpoints/step-00000001/model.safetensors" for name in "ab")
        assert first.read_bytes() == second.read_bytes()

    def test_saving_a_step_again_replaces_it(self, tmp_path: Path) -> None:
        checkpoints = saved(tmp_path, 1, 2)
        checkpoints.save(2, tensors(5), Progress(step=2))
        found = checkpoints.newest()
        assert found is not None
        assert torch.equal(found.load("model")["bias"], tensors(5)["model"]["bias"])
        assert steps_in(checkpoints.folder) == [1, 2]


class TestRetention:
    def test_the_newest_stay(self, tmp_path: Path) -> None:
        assert steps_in(saved(tmp_path, *range(10, 60, 10), keep=2).folder) == [40, 50]

    def test_the_best_and_the_one_resumed_from_stay(self, tmp_path: Path) -> None:
        saved(tmp_path, 10, 20)
        checkpoints = Checkpoints(tmp_path / "checkpoints", 1, RUN)
        assert_holds(checkpoints.newest(), 20)
        for step in (30, 40, 50):
            save(checkpoints, step, best_step=10)
        assert steps_in(checkpoints.folder) == [10, 20, 50]

    def test_what_is_not_ours_stays(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 10, keep=1).folder
        saved(tmp_path / "other", 20, identity=Identity("run-b"))
        shutil.copytree(tmp_path / "other/checkpoints/step-00000020", folder / "step-00000020")
        (folder / "step-00000015").mkdir()
        (folder / "step-00000015" / "notes.txt").write_text("mine")
        (folder / "step-5").mkdir()
        (folder / "keep.txt").touch()
        checkpoints = Checkpoints(folder, 1, RUN)
        save(checkpoints, 30)
        save(checkpoints, 40)
        there = sorted(path.name for path in folder.iterdir())
        assert there == ["keep.txt", "step-00000015", "step-00000020", "step-00000040", "step-5"]

    def test_a_damaged_one_is_not_counted_and_goes(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 10, 20, 30).folder
        flip(folder / "step-00000030" / "model.safetensors", 90)
        checkpoints = Checkpoints(folder, 2, RUN)
        assert_holds(checkpoints.newest(), 20)
        save(checkpoints, 25)
        assert steps_in(folder) == [20, 25]
        assert_holds(Checkpoints(folder, 2, RUN).newest(), 25)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


class TestDamage:
    """The newest of two checkpoints is damaged: it is named and skipped; ``strict`` stops there."""

    def passed_over(self, tmp_path: Path, *named: str) -> None:
        told: list[str] = []
        assert_holds(Checkpoints(tmp_path / "checkpoints", 2, RUN).newest(report=told.append), 1)
        (line,) = told
        assert all(name in line for name in ("step-00000002", *named))
        with pytest.raises(CheckpointError) as caught:
            Checkpoints(tmp_path / "checkpoints", 2, RUN).newest(strict=True)
        assert all(name in str(caught.value) for name in named)

    def test_every_byte_of_every_file(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 1).folder / "step-00000001"
        for path in sorted(folder.iterdir()):
            intact = path.read_bytes()
            for offset in range(len(intact)):
                flip(path, offset, offset % 8)
                damage = check_checkpoint(folder, RUN.run_id).damage
                assert len(damage) == 1, f"a flipped bit in {path.name} at {offset} was not seen: {damage}"
                assert path.name in damage[0]
                path.write_bytes(intact)
        assert not check_checkpoint(folder, RUN.run_id).damage

    @pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "progress.json", "manifest.json"])
    @pytest.mark.parametrize(
        "harm",
        [
            lambda path: flip(path, -1, 3),
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(path.read_bytes() + b"\n"),
            lambda path: path.unlink(),
            lambda path: (path.unlink(), path.mkdir()),
            lambda path: (path.rename(path.parent.parent / "moved"), path.symlink_to(path.parent.parent / "moved")),
        ],
        ids=["flip", "cut", "half", "empty", "longer", "missing", "folder", "link"],
    )
    def test_harm_to_one_file(self, tmp_path: Path, name: str, harm: Callable[[Path], object]) -> None:
        folder = saved(tmp_path, 1, 2).folder
        path = folder / "step-00000002" / name
        harm(path)
        self.passed_over(tmp_path, name)

    def test_a_file_too_many(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 1, 2).folder
        (folder / "step-00000002" / "pytorch_model.bin").write_bytes(b"x")
        self.passed_over(tmp_path, "pytorch_model.bin")

    def test_two_files_exchanged(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 1, 2).folder / "step-00000002"
        model, optimizer = folder / "model.safetensors", folder / "optimizer.safetensors"
        a, b = model.read_bytes(), optimizer.read_bytes()
        model.write_bytes(b)
        optimizer.write_bytes(a)
        self.passed_over(tmp_path, model.name, optimizer.name)

    @pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "progress.json", "manifest.json"])
    def test_a_file_of_another_step(self, tmp_path: Path, name: str) -> None:
        folder = saved(tmp_path, 1, 2).folder
        shutil.copy(folder / "step-00000001" / name, folder / "step-00000002" / name)
        self.passed_over(tmp_path, name)

    @pytest.mark.parametrize("names", [["model.safetensors"], ["manifest.json"], None])
    def test_files_of_another_run(self, tmp_path: Path, names: list[str] | None) -> None:
        folder = saved(tmp_path, 1, 2).folder / "step-00000002"
        other = saved(tmp_path / "other", identity=Identity("run-b"))
        path = other.save(2, tensors(3), Progress(step=2))
        for name in names or [file.name for file in path.iterdir()]:
            shutil.copy(path / name, folder / name)
        self.passed_over(tmp_path, (names or ["manifest.json"])[0])

    def test_a_renamed_checkpoint(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 1, 2).folder
        shutil.rmtree(folder / "step-00000002")
        shutil.copytree(folder / "step-00000001", folder / "step-00000002")
        self.passed_over(tmp_path, "manifest.json")

    def test_a_rewritten_manifest_with_a_path_that_leads_out(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 1, 2).folder
        path = folder / "step-00000002" / "manifest.json"
        content = json.loads(path.read_text())
        content["files"]["../../../etc/passwd"] = content["files"]["model.safetensors"]
        path.write_text(json.dumps(content))
        self.passed_over(tmp_path, "manifest.json")

    def test_a_pickle_bomb_is_never_set_off(self, tmp_path: Path) -> None:
        folder, canary = saved(tmp_path, 1, 2).folder, tmp_path / "canary"
        bomb = b"cos\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."
        for path in sorted((folder / "step-00000002").iterdir()):
            intact = path.read_bytes()
            path.write_bytes(bomb)
            self.passed_over(tmp_path, path.name)
            path.write_bytes(intact)
        assert not canary.exists()


class TestNothingUsable:
    def test_none_only_if_there_never_was_one(self, tmp_path: Path) -> None:
        checkpoints = Checkpoints(tmp_path / "checkpoints", 2, RUN)
        assert checkpoints.newest() is None
        (tmp_path / "checkpoints" / "step-00000001.12345678.tmp").mkdir(parents=True)
        assert checkpoints.newest() is None

    def test_all_damaged(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 1, 2).folder
        flip(folder / "step-00000001" / "progress.json", 3)
        (folder / "step-00000002" / "manifest.json").unlink()
        with pytest.raises(CheckpointError) as caught:
            Checkpoints(folder, 2, RUN).newest()
        assert caught.value.exit_code == 4
        for what in ("step-00000001", "progress.json", "step-00000002", "manifest.json"):
            assert what in caught.value.where

    @pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/step-00000001"])
    def test_all_deleted_is_no_fresh_start(self, tmp_path: Path, gone: str) -> None:
        saved(tmp_path, 1)
        shutil.rmtree(tmp_path / gone)
        with pytest.raises(CheckpointError, match="no usable checkpoint"):
            Checkpoints(tmp_path / "checkpoints", 2, RUN).newest()

    def test_the_newest_deleted_is_told(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 1, 2).folder
        shutil.rmtree(folder / "step-00000002")
        told: list[str] = []
        assert_holds(Checkpoints(folder, 2, RUN).newest(report=told.append), 1)
        assert "step-00000002" in told[0]
        with pytest.raises(CheckpointError):
            Checkpoints(folder, 2, RUN).newest(strict=True)

    def test_a_damaged_journal_is_no_fresh_start_either(self, tmp_path: Path) -> None:
        saved(tmp_path, 1)
        shutil.rmtree(tmp_path / "checkpoints")
        (tmp_path / "checkpoints.json").write_text("{")
        with pytest.raises(CheckpointError):
            Checkpoints(tmp_path / "checkpoints", 2, RUN).newest()

    @pytest.mark.parametrize("text", ["", "[]", "3", '{"last_step": "x"}', '{"run_id": [], "last_step": 1}', '{"what": 1}'])
    def test_a_journal_of_any_content_is_survived(self, tmp_path: Path, text: str) -> None:
        folder = saved(tmp_path, 1).folder
        (tmp_path / "checkpoints.json").write_text(text)
        assert_holds(Checkpoints(folder, 2, RUN).newest(), 1)
        assert_holds(Checkpoints(folder).newest(), 1)

    def test_only_another_runs(self, tmp_path: Path) -> None:
        folder = saved(tmp_path, 1).folder
        with pytest.raises(CheckpointError, match="no usable"):
            Checkpoints(folder, 2, Identity("run-b")).newest()

    def test_a_step_that_is_not_there(self, tmp_path: Path) -> None:
        checkpoints = saved(tmp_path, 1, 2)
        assert_holds(checkpoints.at(1), 1)
        with pytest.raises(CheckpointError, match="step 3"):
            checkpoints.at(3)


def test_leftovers_go_everywhere_in_the_runs_folder(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    before = sorted(tmp_path.rglob("*"))
    (checkpoints.folder / "step-00000002.0a0a0a0a.tmp").mkdir()
    (checkpoints.folder / "step-00000002.0a0a0a0a.tmp" / "model.safetensors").touch()
    (tmp_path / "status.json.0a0a0a0a.tmp").touch()
    (tmp_path / "trackers").mkdir()
    (tmp_path / "trackers" / "wandb.json.0a0a0a0a.tmp").touch()
    assert len(checkpoints.clear_leftovers()) == 3
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "trackers"])


class TestDisk:
    @pytest.mark.parametrize("action", ["enospc", "eio", "erofs"])
    @pytest.mark.parametrize("point", ["save.open", "save.write", "save.fsync", "save.rename"])
    def test_a_refusing_disk_harms_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, action: str
    ) -> None:
        checkpoints = saved(tmp_path, 1, 2, keep=2)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        monkeypatch.setattr(faults, "_faults", [(point, 3, action)])
        with pytest.raises(DiskError) as caught:
            save(checkpoints, 3)
        assert caught.value.exit_code == 7
        assert "step-00000003" in caught.value.where
        assert "free" in caught.value.what
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        assert_holds(Checkpoints(checkpoints.folder, 2, RUN).newest(), 2)

    def test_a_real_limit_on_what_may_be_written(self, tmp_path: Path) -> None:
        checkpoints = saved(tmp_path, 1, 2)
        if (child := os.fork()) == 0:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            try:
                checkpoints.save(3, {"model": {"weight": torch.zeros(10_000)}}, Progress(step=3))
            except DiskError as error:
                os._exit(0 if "39.1 KiB needed" in error.what else 2)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert steps_in(checkpoints.folder) == [1, 2]

    def test_room_is_asked_for_before_the_training(self, tmp_path: Path) -> None:
        checkpoints = Checkpoints(tmp_path / "checkpoints", 2, RUN)
        checkpoints.require_space(1000)
        assert list(checkpoints.folder.iterdir()) == []
        with pytest.raises(DiskError, match="needed"):
            checkpoints.require_space(2**60)

    def test_a_run_folder_that_is_gone(self, tmp_path: Path) -> None:
        checkpoints = saved(tmp_path / "run", 1)
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(DiskError, match="gone"):
            save(checkpoints, 2)
        assert not (tmp_path / "run").exists()
