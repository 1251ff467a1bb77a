"""Every tensor of every program's batches moves: the loss is taken on a device where one that stayed behind is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from support.every_pair import Text, chosen
from support.every_program import PROGRAMS
from support.memory_rows import memory_rows, vocabulary_of
from support.program_kind import tiny_shape
from torch import Tensor
from torch.fx.experimental import _config as fx_config

from plmtrain import backbones, objectives
from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.commands.list import matrix
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.rows.rows import rows_of
from plmtrain.keyed_random import Keys
from plmtrain.programs.taught import Taught
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import section
from plmtrain.settings.decode import pretrain_settings

META = torch.device("meta")
MATRIX = matrix(None)
TYPES = {model: section("model", model)["type"] for model in MATRIX}
PAIRS = {
    (objective, TYPES[model]): model
    for model, row in reversed(MATRIX.items())
    for objective, answer in row.items()
    if answer == "yes"
}
"""Every objective with every type of backbone that it trains, and the first model of that type."""
SHAPE = "trainer.sequence_length=24 trainer.batch_size=5".split()


def tensors(value: Any, name: str = "batch") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in dataclasses and mappings, with where it stands: by their fields, whichever these are."""
    if isinstance(value, Tensor):
        yield name, value
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors(getattr(value, field.name), f"{name}.{field.name}")
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from tensors(one, f"{name}[{key}]")


def assert_moved(batch: Batch) -> Batch:
    moved = batch.to(META)
    before, after = dict(tensors(batch)), dict(tensors(moved))
    assert before.keys() == after.keys()
    assert {name for name, tensor in after.items() if tensor.device != META} == set()
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in after.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in before.items()
    }
    assert {name for name, tensor in before.items() if tensor.device != torch.device("cpu")} == set()
    assert moved.normalisers == batch.normalisers
    return moved


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the meta device answer what it refuses to: that it has no autocast, and how many numbers are not zero (all)."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    with fx_config.patch(meta_nonzero_assume_all_nonzero=True):
        yield


def assert_loss_runs(program: Any, learner: Any, batch: Batch) -> None:
    """Twice, with what goes on from the first time."""
    moved, carry = assert_moved(batch), {}
    for _ in range(2):
        terms, carry = program.loss(learner, moved, carry)
        assert {name: term.total.device for name, term in terms.items()} == dict.fromkeys(program.terms, META)
        assert all(tensor.device == META for tensor in carry.values())


def keys(count: int) -> Keys:
    return Keys(1, np.zeros(count, np.int64), np.arange(count))


@pytest.mark.usefixtures("computing")
@pytest.mark.parametrize(("objective", "model"), [(objective, model) for (objective, _), model in PAIRS.items()])
def test_a_batch_of_every_objective(objective: str, model: str, tmp_path: Path) -> None:
    overrides = [*chosen(model, objective, MATRIX[model]), *tiny_shape(model), *SHAPE, *Text(tmp_path).overrides(objective)]
    settings = pretrain_settings(compose(overrides))
    vocabulary = vocabulary_of(settings.tokenizer.family)
    whole = objectives.build(settings.objective, settings.model, vocabulary)
    (phase,) = plan_phases(settings.trainer)
    rows = memory_rows(whole, phase, 40)
    learner = whole.build(lambda shape: backbones.build(shape, vocabulary.size)).to(META).train()
    for part in whole.parts.members:
        batch = part.program.collate(rows_of(rows, part.name).fetch(np.arange(5)), keys(5))
        if isinstance(part.program, Taught):
            teacher = whole.build(lambda shape: backbones.build(shape, vocabulary.size)).requires_grad_(False)
            batch = replace(batch, lessons=part.program.lessons(teacher, batch))
        assert_loss_runs(part.program, part.learner(learner), batch)


@pytest.mark.usefixtures("computing")
@pytest.mark.parametrize("name", [name for name, kind in PROGRAMS.items() if kind.task])
def test_a_batch_of_every_task(name: str, tmp_path: Path) -> None:
    run = PROGRAMS[name].run(tmp_path)
    learner = run.program.build(lambda shape: backbones.build(shape, run.vocabulary.size)).to(META).train()
    batch = run.program.collate(run.rows.fetch(np.arange(5)), keys(5))
    if isinstance(run.program, Taught) and run.program.is_taught:
        teacher = run.program.build(lambda shape: backbones.build(shape, run.vocabulary.size)).requires_grad_(False)
        batch = replace(batch, lessons=run.program.lessons(teacher, batch))
    assert_loss_runs(run.program, learner, batch)
    asked = run.program.answering.collate(run.rows.fetch(np.arange(5)))
    assert_moved(asked)


def full(kind: type, within: tuple[type, ...] = ()) -> Any:
    """An instance with a tensor wherever the types of its fields allow one; a type within itself only once."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        members = (hint, *get_args(hint))
        inner = next((member for member in members if is_dataclass(member)), None)
        if get_origin(hint) is Mapping:
            values[name] = {key: torch.rand(2, 3) if Tensor in members else 1.0 for key in ("one", "other")}
        elif Tensor in members:
            values[name] = torch.rand(2, 3)
        elif inner is not None and within.count(inner) < 2:
            values[name] = full(inner, (*within, inner))
    return kind(**values)


@pytest.mark.parametrize("kind", [Layout, Inputs, Batch])
def test_no_field_is_forgotten(kind: type) -> None:
    """Each tensor is changed once, and put back where it was: whatever fields there will be."""
    whole = full(kind)
    before = dict(tensors(whole))
    assert len(before) >= {Layout: 4, Inputs: 14, Batch: 20}[kind]
    changed: list[Tensor] = []

    def change(tensor: Tensor) -> Tensor:
        changed.append(tensor)
        return tensor + 1

    after = dict(tensors(whole.map(change)))
    assert sorted(map(id, changed)) == sorted(map(id, before.values()))
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor + 1) for name, tensor in before.items())


def test_all_of_a_batch_is_pinned_and_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page-locked memory needs a GPU: here it is only asked for."""
    batch = full(Batch)
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor + 1)
    pinned = dict(tensors(batch.pin_memory()))
    assert pinned.keys() == dict(tensors(batch)).keys()
    assert all(torch.equal(pinned[name], tensor + 1) for name, tensor in tensors(batch))
    assert_moved(batch)
