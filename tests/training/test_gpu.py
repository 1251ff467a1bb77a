"""What a GPU is asked to do. A step waits for it once, to learn whether the gradient is finite.

Torch's ``meta`` device stands in for an accelerator: its tensors have no values, so that whatever would wait for one (``item``,
``tolist``, ``cpu``, ``bool``, ``nonzero``, a mask as an index) fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from support.every_program import PROGRAMS
from support.program_kind import TINY
from support.tiny_run import MemoryMaterial, TinyRun, settings_of
from torch import Tensor
from torch.nn import functional

from plmtrain import backbones
from plmtrain.batch import Inputs, Layout
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.loading.step_loader import StepLoader
from plmtrain.data.rows.rows import rows_of
from plmtrain.optim import optimizer
from plmtrain.programs.taught import Teacher
from plmtrain.runs.learners import build_learner, embedded_tokens, load_teacher
from plmtrain.training import step
from plmtrain.training.average import WeightAverage
from plmtrain.training.group import Group
from plmtrain.training.hidden_matrices import hidden_matrices
from plmtrain.training.step import Step, take_step

DEVICE = torch.device("meta")


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Copies to the device for which the host waits."""
    copies: list[str] = []
    move = Tensor.to

    def moved(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = move(tensor, *args, **kwargs)
        if tensor.device != result.device and not kwargs.get("non_blocking"):
            copies.append(str(tuple(tensor.shape)))
        return result

    make = torch.tensor

    def made(*args: Any, **kwargs: Any) -> Tensor:
        result = make(*args, **kwargs)
        copies.extend([str(args)] if result.device == DEVICE else [])
        return result

    monkeypatch.setattr(Tensor, "to", moved)
    monkeypatch.setattr(torch, "tensor", made)
    return copies


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_step_waits_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited: list[str], name: str) -> None:
    """A step, and the average of the weights after it. What is logged is read besides, at each ``trainer.log_every`` steps."""
    run = PROGRAMS[name].run(tmp_path / "run", "trainer.micro_batch_size=4")
    material, group = MemoryMaterial(run), Group("cpu", 60, 1)
    phases = plan_phases(run.settings.trainer)
    programs = material.programs(phases)
    tokens = embedded_tokens(run.settings, material.tokenizer)
    learner = build_learner(run.settings, programs[0], tokens).to(DEVICE)
    teacher = load_teacher(run.settings, material.tokenizer, programs, torch.device("cpu"))
    if teacher is not None:
        teacher = Teacher(teacher.folder, teacher.digest, teacher.learner.to(DEVICE))
    module, group.device = Step(learner, "fp32", teacher), DEVICE
    optimiser = optimizer.build(learner, run.settings.optimizer, hidden=hidden_matrices(learner))
    scaler, average = torch.amp.GradScaler("cpu", enabled=False), WeightAverage(learner, 0.9)
    read: list[int] = []

    def reading(numbers: Sequence[torch.Tensor]) -> list[float]:
        read.append(len(numbers))
        return [1.0] * len(numbers)

    monkeypatch.setattr(step, "read", reading)
    monkeypatch.setattr(step, "autocast", lambda *_: nullcontext())  # torch has none for this device
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    for part in programs[0].parts.members:
        carry: Any = {}
        rows = rows_of(material.rows("train", programs[0], phases[0]), part.name)
        read.clear()
        waited.clear()
        for number, batches in StepLoader([rows], [part.program], phases[:1], seed=1):
            outcome = take_step(
                module,
                part,
                batches,
                carry,
                optimiser,
                scaler,
                group,
                step=number,
                seed=1,
                learning_rate=0.01,
                clip_norm=1.0,
                requests=lambda: (False, True),
            )
            carry = outcome.carry
            average.update(number + 1)
            if number or not carry:
                break
        assert len(read) == number + 1
        assert waited == []


class Loading(Exception):
    """Rows are about to be loaded."""


@pytest.mark.parametrize(
    ("device", "workers", "wanted"), [("cuda", "null", (True, 2)), ("cuda", "0", (True, 0)), ("cpu", "null", (False, 0))]
)
def test_batches_for_a_gpu_are_loaded_ahead_into_pinned_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, workers: str, wanted: tuple[bool, int]
) -> None:
    def loader(*_: Any, pin_memory: bool, num_workers: int, **__: Any) -> None:
        assert (pin_memory, num_workers) == wanted
        raise Loading

    trainer = TinyRun(tmp_path / "run", (f"trainer.workers={workers}",)).trainer()
    monkeypatch.setattr("plmtrain.data.loading.step_loader.DataLoader", loader)
    trainer.setup.group.device = torch.device(device)
    with pytest.raises(Loading):
        trainer.run()


@pytest.mark.parametrize("model", ["bert", "gpt2", "bart"])
def test_rows_without_padding_have_the_form_that_the_flash_kernel_takes(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Half precision, no mask but the causal one, adjacent numbers of a head (``sdp::can_use_flash_attention`` in torch)."""
    causal: list[bool] = []
    attention = functional.scaled_dot_product_attention

    def flash(
        query: Tensor, key: Tensor, value: Tensor, *, attn_mask: Tensor | None, dropout_p: float, is_causal: bool, scale: Any
    ) -> Tensor:
        assert attn_mask is None
        assert scale is None
        for each in (query, key, value):
            assert each.dtype == torch.bfloat16
            assert each.stride(-1) == 1
            assert each.dim() == 4
        causal.append(is_causal)
        return attention(query, key, value, dropout_p=dropout_p, is_causal=is_causal)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", flash)
    settings = settings_of(
        f"model={model}", *TINY, "objective=bart" if model == "bart" else "objective=clm" if model == "gpt2" else "objective=mlm"
    )
    backbone = backbones.build(settings.model, 30).to(DEVICE, torch.bfloat16).train()
    ids = torch.zeros(2, 8, dtype=torch.int64, device=DEVICE)
    backbone.hidden(Inputs(ids=ids, layout=Layout(), decoder=Inputs(ids=ids, layout=Layout(causal=True))))
    assert causal == {"bert": [False] * 2, "gpt2": [True] * 2, "bart": [False] * 2 + [True, False] * 2}[model]
