"""Mixtures: what is drawn, what is trained, what stays as it is, and who answers."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from support.memory_rows import VOCABULARY, MemoryRows, memory_rows
from support.tiny_run import TinyRun

from plmtrain import backbones, objectives
from plmtrain.data.rows.rows import PartedRows
from plmtrain.keyed_random import Keys
from plmtrain.programs.parts import Part, PartedLearner
from plmtrain.programs.program import Program
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings

TINY = (
    "model=electra model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.embedding_width=12 model.positions=32 "
    "model.dropout=0 model.attention_dropout=0 trainer.sequence_length=14 "
    "objective=mixture objective.parts.rtd.generator_width=0.5"
).split()
SHARES = "objective.shares={dynamic_mlm: 3, rtd: 1, whole_word_mlm: 0.5}"


def mixture(*overrides: str) -> Program:
    settings = pretrain_settings(compose([*TINY, SHARES, *overrides]))
    return objectives.build(settings.objective, settings.model, VOCABULARY)


def learner_of(program: Program) -> PartedLearner:
    torch.manual_seed(0)
    learner = program.build(lambda model: backbones.build(model, VOCABULARY.size))
    assert isinstance(learner, PartedLearner)
    return learner


def test_parts_are_drawn_with_their_shares() -> None:
    """Within four and a half standard deviations of the binomial distribution, whatever the unit of the shares."""
    steps, program = 20_000, mixture()
    counts = Counter(program.drawn(5, step).part for step in range(steps))
    for name, share in {"dynamic_mlm": 3 / 4.5, "rtd": 1 / 4.5, "whole_word_mlm": 0.5 / 4.5}.items():
        assert abs(counts[name] - steps * share) < 4.5 * math.sqrt(steps * share * (1 - share))
    other = [mixture("objective.shares={dynamic_mlm: 6, rtd: 2, whole_word_mlm: 1}").drawn(5, step).part for step in range(200)]
    assert other == [program.drawn(5, step).part for step in range(200)]
    assert other != [program.drawn(6, step).part for step in range(200)]


def test_draws_of_neighbouring_steps_are_independent() -> None:
    program = mixture("objective.shares={dynamic_mlm: 1, rtd: 1}")
    drawn = np.array([program.drawn(5, step).part == "rtd" for step in range(20_000)])
    for distance in (1, 2, 3, 7):
        assert abs(np.corrcoef(drawn[distance:], drawn[:-distance])[0, 1]) < 4.5 / math.sqrt(len(drawn))


def test_a_share_of_0_is_never_drawn() -> None:
    phases = "trainer.phases=[{steps:5},{steps:5,objective:{shares:{rtd:1}}}]"
    program = mixture("objective.shares={dynamic_mlm: 1, rtd: 0}", "trainer.steps=10", "schedule.warmup=0", phases)
    assert {program.drawn(1, step).part for step in range(2000)} == {"dynamic_mlm"}


def test_the_order_in_which_shares_are_written_changes_nothing() -> None:
    one, other = (
        mixture(f"objective.shares={{{shares}}}")
        for shares in ("rtd: 1, mlm: 2, dynamic_mlm: 2", "dynamic_mlm: 2, mlm: 2, rtd: 1")
    )
    assert [one.drawn(1, step).part for step in range(100)] == [other.drawn(1, step).part for step in range(100)]
    weights = learner_of(other).state_dict()
    for name, tensor in learner_of(one).state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_one_backbone_and_one_head_for_the_vocabulary() -> None:
    """Each tensor is listed once; what the generator of RTD has is its own."""
    program, learner = mixture(), learner_of(mixture())
    names = [name.partition(".")[0] for name, _ in learner.named_children()]
    assert names == ["backbone", "part_dynamic_mlm", "part_rtd", "part_whole_word_mlm"]
    tensors = list(learner.state_dict().values())
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)
    heads = {name: part.token_head_of(learner) for name, part in program.parts.items()}
    assert heads["dynamic_mlm"] is heads["whole_word_mlm"] is not None
    assert heads["rtd"] is None
    assert not program.trains_all(learner)
    settings = pretrain_settings(compose([*TINY[:-1], "objective.shares={dynamic_mlm: 1, whole_word_mlm: 1}"]))
    masked = objectives.build(settings.objective, settings.model, VOCABULARY)
    assert masked.trains_all(learner_of(masked))
    assert all(part.backbone_of(learner) is learner.backbone for part in program.parts.values())
    assert learner.part("rtd").generator.embedding_weight is learner.backbone.embedding_weight


def test_what_the_drawn_part_does_not_use_stays_as_it_is(tmp_path: Path) -> None:
    """Bit for bit: weights, both moments, and the number of updates. The rest counts the steps that used it."""
    run = TinyRun(tmp_path / "run", ("trainer.steps=16", "optimizer.weight_decay=0.1"), (*TINY, SHARES))
    trainer = run.trainer()
    program = trainer.parts.programs[0]
    parameters = dict(trainer.state.learner.named_parameters())
    optimizer, updates = trainer.state.optimizer, Counter[str]()
    users = {
        name: {part for part in program.parts if _reads(part, name)} for name in parameters
    }  # by the structure alone: the parts whose loss a parameter is in
    before: dict[str, list[torch.Tensor]] = {}
    for number, batches in trainer._steps():
        drawn = program.drawn(trainer.parts.settings.seed, number).part
        for name, parameter in parameters.items():
            before[name] = [parameter.detach().clone(), *(tensor.clone() for tensor in optimizer.state[parameter].values())]
        trainer._step(number, batches)
        for name, parameter in parameters.items():
            now = [parameter, *optimizer.state[parameter].values()]
            same = all(torch.equal(old, new) for old, new in zip(before[name], now, strict=True))
            assert same == (drawn not in users[name]), (number, drawn, name)
            updates[name] += drawn in users[name]
            assert optimizer.state[parameter]["step"] == updates[name]
    assert set(updates) == set(parameters)
    assert all(updates.values()), "every parameter was trained by some step"


def _reads(part: str, parameter: str) -> bool:
    if parameter.startswith("backbone."):
        return True
    # The head that scores the vocabulary stands with the first part that has it.
    return parameter.startswith(f"part_{part}.") or (part == "whole_word_mlm" and parameter.startswith("part_dynamic_mlm.head."))


def test_eight_rows_are_overfitted(tmp_path: Path) -> None:
    steps = (
        "trainer.steps=300",
        "trainer.save_every=1000",
        "trainer.evaluate_every=1000",
        "optimizer.lr=0.01",
        "schedule.warmup=0",
    )
    masks = [f"objective.parts.{name}.copies=1" for name in ("dynamic_mlm", "rtd", "whole_word_mlm")]
    rows = MemoryRows(8, 12)
    run = TinyRun(
        tmp_path / "run",
        (*steps, *masks),
        (*TINY, SHARES),
        rows=lambda program, phase: PartedRows(dict.fromkeys(program.parts, rows)),
        held_out=PartedRows(dict.fromkeys(("dynamic_mlm", "rtd", "whole_word_mlm"), rows)),
    )
    run.go()
    records = [record for record in run.records() if "loss" in record]
    for term in ("dynamic_mlm/mlm", "whole_word_mlm/mlm", "rtd/mlm"):
        found = [record[f"loss/{term}"] for record in records if f"loss/{term}" in record]
        assert found[-1] < 0.4 < 2 < found[0], term


def test_validation_measures_every_part_and_weighs_them_by_their_shares(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.steps=5",), (*TINY, SHARES))
    run.go()
    (found,) = [record for record in run.records() if "val/loss" in record]
    for term in ("dynamic_mlm/mlm", "rtd/mlm", "rtd/rtd", "whole_word_mlm/mlm"):
        assert found[f"val/loss/{term}"] > 0
    assert found["val/rtd/rtd/accuracy"] > 0
    assert found["val/dynamic_mlm/perplexity"] == pytest.approx(math.exp(found["val/loss/dynamic_mlm/mlm"]))
    assert found["val/loss/rtd"] == pytest.approx(found["val/loss/rtd/mlm"] + 50 * found["val/loss/rtd/rtd"])
    losses = {name: found[f"val/loss/{name}"] for name in ("dynamic_mlm", "rtd", "whole_word_mlm")}
    expected = (3 * losses["dynamic_mlm"] + losses["rtd"] + 0.5 * losses["whole_word_mlm"]) / 4.5
    assert found["val/loss"] == pytest.approx(expected)


def test_a_step_computes_what_its_part_alone_computes() -> None:
    """The terms of a part on its rows are those of the objective by itself, with the same weights and noise."""
    program = mixture()
    learner = learner_of(program).train()
    samples = np.arange(6)
    keys = Keys(3, np.zeros(6, np.int64), samples)
    for name, part in program.parts.items():
        rows = MemoryRows(6, part.row_length(14)).fetch(samples)
        terms, _ = part.loss(learner, part.collate(rows, keys), {})
        alone, _ = part.program.loss(learner.part(name), part.program.collate(rows, keys), {})
        assert {key: float(term.total) for key, term in terms.items()} == {
            f"{name}/{key}": float(term.total) for key, term in alone.items()
        }


def test_the_part_with_the_largest_share_answers_unless_another_is_named() -> None:
    program = mixture()
    assert program.main == "dynamic_mlm"
    assert list(program.models(learner_of(program))) == ["dynamic_mlm", "rtd/discriminator", "rtd/generator", "whole_word_mlm"]
    assert mixture("objective.shares={mlm: 1, rtd: 1}").main == "mlm"
    for modules in program.models(learner_of(program)).values():
        assert sum(isinstance(module, backbones.Backbone) for module in modules) == 1


def test_a_part_passes_on_all_that_a_program_does() -> None:
    """A method that programs get later must not fall silent where they are parts."""
    own = {"of", "drawn", "trains_all", "joined", "selection", "carry_size"}
    public = {name for name, value in vars(Program).items() if not name.startswith("_") and inspect.isroutine(value)} - own
    assert public - vars(Part).keys() == set()


def test_rows_of_every_part_have_its_length() -> None:
    program = mixture()
    settings = pretrain_settings(compose([*TINY, SHARES]))
    from plmtrain.data.loading.order import plan

    rows = memory_rows(program, plan(settings.trainer)[0], 10)
    assert isinstance(rows, PartedRows)
    assert set(rows.parts) == set(program.parts)
    assert len(rows) == max(map(len, rows.parts.values()))
