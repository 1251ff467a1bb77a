"""Distillation (Sanh et al. 2019): its losses by their definitions in NumPy, its teacher, and what the student starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from support.every_program import PROGRAMS
from support.memory_rows import VOCABULARY, MemoryRows
from support.program_kind import teacher_folder
from support.pupils import STUDENT, TEACHER, pupil, softmax, taught
from torch.nn import functional

from plmtrain.data.rows.rows import Rows
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.keyed_random import Keys
from plmtrain.nn.distillation import divergences, tied_divergence
from plmtrain.programs.inheritance import spaced
from plmtrain.training.checkpoint_manifest import Identity
from plmtrain.training.progress import Progress
from plmtrain.training.restore import load_run
from plmtrain.training.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("over", ["real", "predicted"])
@pytest.mark.parametrize("width", [16, 24])
def test_losses_are_the_papers(over: str, width: int) -> None:
    """Section 2, over the tokens that are not padding; with a projection where the widths differ."""
    model = STUDENT.model_copy(update={"width": width})
    program, learner, teacher = pupil(model, temperature=3.0, kl_over=over, teacher_width=16)
    batch = taught(program, teacher)
    terms, _ = program.loss(learner, batch, {})
    with torch.no_grad():
        theirs, ours = teacher.token_scores(batch.inputs), learner.token_scores(batch.inputs)
        states = [model.backbone.encode(batch.inputs) for model in (teacher, learner)]
        if width != 16:
            states[1] = functional.linear(states[1], learner.projection.weight, learner.projection.bias)
    assert (learner.projection is None) == (width == 16)
    theirs, ours, before, after = (tensor.double().numpy() for tensor in (theirs, ours, *states))
    real = np.arange(14) < np.arange(10, 15)[:, None]
    predicted = np.zeros(real.shape, bool)
    predicted.reshape(-1)[batch.targets["positions"].numpy()] = True
    labels = batch.targets["labels"].numpy()
    assert 0 < predicted.sum() < real.sum() < real.size
    compared = real if over == "real" else predicted

    wanted, given = softmax(theirs[compared] / 3), softmax(ours[compared] / 3)
    kl = 9 * (wanted * (np.log(wanted) - np.log(given))).sum()
    mlm = -np.log(softmax(ours[predicted])[np.arange(len(labels)), labels]).sum()
    one, other = before[real], after[real]
    cosine = (1 - (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)).sum()
    expected = {"kl": (kl, compared.sum(), 5), "mlm": (mlm, predicted.sum(), 2), "cosine": (cosine, real.sum(), 1)}
    for name, (total, count, weight) in expected.items():
        term = terms[name]
        assert (term.normaliser, term.weight) == (count, weight), name
        assert term.total.item() == pytest.approx(total, rel=1e-5), name


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_divergence_and_its_gradients_are_those_of_the_whole_logits(monkeypatch: pytest.MonkeyPatch, kind: torch.dtype) -> None:
    monkeypatch.setattr("plmtrain.nn.loss._SCORED_ON_CPU", 60)  # two rows at a time
    draw = torch.Generator().manual_seed(0)
    sizes = [(7, 5), (30, 5), (30,), (7, 9), (30, 9), (30,)]
    tensors = [torch.randn(size, generator=draw) for size in sizes]
    own = [tensor.requires_grad_() for tensor in tensors[:3]]
    student, teacher = (torch.addmm(bias, states, table.t()) for states, table, bias in (tensors[:3], tensors[3:]))
    expected = 4 * functional.kl_div((student / 2).log_softmax(-1), (teacher / 2).softmax(-1), reduction="sum")
    gradients = torch.autograd.grad(3 * expected, own)
    with torch.autocast("cpu", kind, enabled=kind != torch.float32):
        total = tied_divergence(*own, tuple(tensors[3:]), 2.0)
    found = torch.autograd.grad(3 * total, own)
    close = {"rtol": 1e-4, "atol": 1e-5} if kind == torch.float32 else {"rtol": 0.05, "atol": 0.3}
    torch.testing.assert_close(total, expected, **close)
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, other, **close)
    with torch.no_grad():
        torch.testing.assert_close(tied_divergence(*own, tuple(tensors[3:]), 2.0), expected)
    torch.testing.assert_close(divergences(student, student, 2.0), torch.zeros(7), atol=1e-5, rtol=0)
    nothing = tied_divergence(own[0][:0], *own[1:], (tensors[3][:0], *tensors[4:]), 2.0)
    assert nothing.item() == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(nothing, own))


def test_gradients_reach_the_student_alone() -> None:
    program, learner, teacher = pupil(STUDENT.model_copy(update={"width": 24}), teacher_width=16)
    terms, _ = program.loss(learner, taught(program, teacher), {})
    sum(term.weight * term.total for term in terms.values()).backward()
    assert not [name for name, weight in learner.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert all(weight.grad is None for weight in teacher.parameters())


def test_without_its_weight_there_is_no_divergence() -> None:
    """Then the teacher scores no token either."""
    program, learner, teacher = pupil(kl_weight=0.0)
    batch = taught(program, teacher)
    assert set(batch.lessons) == {"states"}
    assert set(program.loss(learner, batch, {})[0]) == set(program.terms) == set(batch.normalisers) == {"mlm", "cosine"}


def test_rare_tokens_are_masked_rather_than_frequent_ones() -> None:
    """As many as the share of all tokens of a row says, in proportion to frequency^-0.7; special tokens never."""
    program, _, _ = pupil(mask_probability=0.05)
    count, length = 4000, 38
    tokens = np.where(np.arange(length) % 2, 7, 6)[None].repeat(count, axis=0)
    frequencies = np.zeros(VOCABULARY.size)
    frequencies[[6, 7, 8]] = 0.9, 0.09, 0.01
    ones = np.ones((count, length), np.bool_)
    given = Rows(tokens=tokens, lengths=np.full(count, length), word_starts=ones, frequencies=frequencies)
    batch = program.collate(given, Keys(1, np.zeros(count, np.int64), np.arange(count)))
    labels = batch.targets["labels"].numpy()
    assert set(np.unique(labels)) == {6, 7}
    assert np.bincount(batch.targets["positions"].numpy() // 40, minlength=count).tolist() == [2] * count
    # Of two draws without replacement from many tokens of two kinds, the share of a kind is nearly that of its weight.
    expected = 0.09**-0.7 / (0.09**-0.7 + 0.9**-0.7)
    assert (labels == 7).mean() == pytest.approx(expected, abs=0.02)
    absent = program.collate(replace(given, tokens=np.where(tokens == 6, 9, 8)), Keys(1, np.zeros(count, int), np.arange(count)))
    assert (absent.targets["labels"] == 9).float().mean().item() == pytest.approx(0.5, abs=0.02)  # as frequent as the rarest


def test_the_published_layers_are_evenly_spaced() -> None:
    assert spaced(6, 12) == [0, 2, 4, 7, 9, 11]  # scripts/extract_distilbert.py
    assert spaced(1, 12) == [0]
    assert spaced(4, 4) == [0, 1, 2, 3]
    assert spaced(3, 6) == [0, 3, 5]


@pytest.mark.parametrize(("chosen", "layers"), [("spaced", [0, 3]), ((2, 1), [2, 1])])
def test_the_student_starts_from_the_teachers_layers(chosen: Any, layers: list[int]) -> None:
    """With all of its layers, it is the teacher; with some, these are the ones that the settings name."""
    program, learner, teacher = pupil(initial_layers=chosen)
    told = program.inherit(learner, teacher)
    assert f"layers {layers[0]}, {layers[1]}" in told
    theirs = teacher.backbone.state_dict()
    for name, tensor in learner.backbone.state_dict().items():
        _, number, rest = name.split(".", 2) if name.startswith("layers.") else ("", "", name)
        assert torch.equal(tensor, theirs[f"layers.{layers[int(number)]}.{rest}" if number else name]), name
    assert all(torch.equal(one, other) for one, other in zip(learner.head.parameters(), teacher.head.parameters(), strict=True))


def test_a_student_of_all_layers_has_nothing_to_learn() -> None:
    program, learner, teacher = pupil(TEACHER.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0}))
    program.inherit(learner, teacher)
    terms, _ = program.loss(learner, taught(program, teacher), {})
    for name in ("kl", "cosine"):
        assert terms[name].total.item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "settings", "what"),
    [
        ({"width": 24}, {}, "another shape|cannot start"),
        ({"segments": 3, "family": "bert"}, {}, "cannot start"),
        ({"heads": 4}, {}, "heads is 2, not 4"),
        ({"activation": "relu"}, {}, "activation is gelu, not relu"),
        ({}, {"initial_layers": (0, 4)}, "names the layers 0, 4"),
        ({}, {"initial_layers": (0,)}, "names the layers 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changes: dict[str, Any], settings: dict[str, Any], what: str) -> None:
    program, learner, teacher = pupil(STUDENT.model_copy(update=changes), **settings)
    with pytest.raises(SettingsError, match="(?s)" + what) as told:
        program.inherit(learner, teacher)
    assert told.value.remedy


@pytest.mark.parametrize("idle", ["mlm", "kl"])
def test_eight_rows_are_learnt_by_heart(idle: str) -> None:
    """Of a random teacher, whose predictions and the masked tokens cannot both be learnt."""
    program, learner, teacher = pupil(**{f"{idle}_weight": 0.0})
    batch = taught(program, teacher, MemoryRows(8, 12).fetch(np.arange(8)))
    optimiser = torch.optim.Adam(learner.parameters(), lr=0.01)
    losses: list[dict[str, float]] = []
    for _ in range(250):
        terms, _ = program.loss(learner, batch, {})
        means = {name: term.total / term.normaliser for name, term in terms.items()}
        losses.append({name: mean.item() for name, mean in means.items()})
        optimiser.zero_grad()
        sum(terms[name].weight * mean for name, mean in means.items()).backward()
        optimiser.step()
    assert all(losses[-1][name] < 0.5 * losses[0][name] for name in terms if name != idle), (losses[0], losses[-1])


def test_a_teacher_stays_as_it_is_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    """Its weights are in no checkpoint; its digest is in each."""
    kind = PROGRAMS["distillation"]
    folder = tmp_path / "teacher"
    copytree(teacher_folder(kind.teacher), folder)
    run = kind.run(tmp_path / "run").with_overrides("trainer.steps=2", "trainer.save_every=1", f"teacher={folder}")
    trainer = run.trainer()
    assert trainer.module.teacher is not None
    theirs = trainer.module.teacher.learner
    before = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    trainer.run()
    assert all(torch.equal(tensor, before[name]) for name, tensor in theirs.state_dict().items())
    assert not any(module.training for module in theirs.modules())
    saved = run.checkpoint
    assert saved.load("model").keys() == trainer.state.learner.state_dict().keys()
    assert saved.identity.teacher_digest == trainer.module.teacher.digest

    trained = load_run(folder)
    with torch.no_grad():
        trained.learner.head.bias.add_(0.01)
    weights = {"model": trained.learner.state_dict()}
    RunFolder(folder).checkpoints(1, Identity("finished")).save(8, weights, Progress(step=8))
    with pytest.raises(SettingsError, match="the teacher's weights have changed"):
        run.trainer()
    run.with_overrides(*run.overrides, "resume.allow=[teacher]").trainer()


def test_a_teacher_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    run = PROGRAMS["distillation"].run(tmp_path)
    with pytest.raises(SettingsErrors) as told:
        replace(run, tokenizer_digest="another", overrides=("model.positions=64", "trainer.sequence_length=40")).trainer()
    text = str(told.value)
    assert "the teacher's tokenizer is not the run's" in text
    assert "rows of 40 tokens are more than the teacher takes (32)" in text
