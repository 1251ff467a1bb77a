"""Mixtures: what is drawn, what is trained, what stays as it is, and who answers."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from support.memory_rows import VOCABULARY, MemoryRows, memory_rows
from support.tiny_run import TinyRun

from plmtrain import backbones, objectives
from plmtrain.batch import Batch, Inputs
from plmtrain.data.rows.rows import PartedRows
from plmtrain.keyed_random import Keys
from plmtrain.objectives.mixture import Mixture
from plmtrain.programs.mixture_learner import MixtureLearner
from plmtrain.programs.program import Program
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.training.step import Step

SHAPE = (
    "model=electra model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.embedding_width=12 model.positions=32 "
    "model.dropout=0 model.attention_dropout=0 trainer.sequence_length=14"
).split()
TINY = [*SHAPE, "objective=mixture", "objective.parts.rtd.generator_width=0.5"]
SHARES = "objective.shares={dynamic_mlm: 3, rtd: 1, whole_word_mlm: 0.5}"


def mixture(*overrides: str) -> Mixture:
    settings = pretrain_settings(compose([*TINY, SHARES, *overrides]))
    program = objectives.build(settings.objective, settings.model, VOCABULARY)
    assert isinstance(program, Mixture)
    return program


def learner_of(program: Mixture) -> MixtureLearner:
    torch.manual_seed(0)
    return program.build(lambda model: backbones.build(model, VOCABULARY.size))


def drawn(program: Mixture, seed: int, step: int) -> str | None:
    return program.parts.draw(seed, step).name


def test_parts_are_drawn_with_their_shares() -> None:
    """Within four and a half standard deviations of the binomial distribution, whatever the unit of the shares."""
    steps, program = 20_000, mixture()
    counts = Counter(drawn(program, 5, step) for step in range(steps))
    for name, share in {"dynamic_mlm": 3 / 4.5, "rtd": 1 / 4.5, "whole_word_mlm": 0.5 / 4.5}.items():
        assert abs(counts[name] - steps * share) < 4.5 * math.sqrt(steps * share * (1 - share))
    doubled = mixture("objective.shares={dynamic_mlm: 6, rtd: 2, whole_word_mlm: 1}")
    other = [drawn(doubled, 5, step) for step in range(200)]
    assert other == [drawn(program, 5, step) for step in range(200)]
    assert other != [drawn(program, 6, step) for step in range(200)]


def test_draws_of_neighbouring_steps_are_independent() -> None:
    program = mixture("objective.shares={dynamic_mlm: 1, rtd: 1}")
    is_rtd = np.array([drawn(program, 5, step) == "rtd" for step in range(20_000)])
    for distance in (1, 2, 3, 7):
        assert abs(np.corrcoef(is_rtd[distance:], is_rtd[:-distance])[0, 1]) < 4.5 / math.sqrt(len(is_rtd))


def test_a_share_of_0_is_never_drawn() -> None:
    phases = "trainer.phases=[{steps:5},{steps:5,objective:{shares:{rtd:1}}}]"
    program = mixture("objective.shares={dynamic_mlm: 1, rtd: 0}", "trainer.steps=10", "schedule.warmup=0", phases)
    assert {drawn(program, 1, step) for step in range(2000)} == {"dynamic_mlm"}


def test_the_order_in_which_shares_are_written_changes_nothing() -> None:
    one, other = (
        mixture(f"objective.shares={{{shares}}}")
        for shares in ("rtd: 1, mlm: 2, dynamic_mlm: 2", "dynamic_mlm: 2, mlm: 2, rtd: 1")
    )
    assert [drawn(one, 1, step) for step in range(100)] == [drawn(other, 1, step) for step in range(100)]
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
    parts = program.parts
    heads = {part.name: part.learner(learner).token_head for part in parts.members}
    assert heads["dynamic_mlm"] is heads["whole_word_mlm"] is not None
    assert heads["rtd"] is None
    assert not learner.is_common
    settings = pretrain_settings(compose([*TINY[:-1], "objective.shares={dynamic_mlm: 1, whole_word_mlm: 1}"]))
    masked = objectives.build(settings.objective, settings.model, VOCABULARY)
    assert isinstance(masked, Mixture)
    assert learner_of(masked).is_common
    assert all(part.learner(learner).backbone is learner.backbone for part in parts.members)
    assert learner.part("rtd").generator.embedding_weight is learner.backbone.embedding_weight


def test_what_the_drawn_part_does_not_use_stays_as_it_is(tmp_path: Path) -> None:
    """Bit for bit: weights, both moments, and the number of updates. The rest counts the steps that used it."""
    run = TinyRun(tmp_path / "run", ("trainer.steps=16", "optimizer.weight_decay=0.1"), (*TINY, SHARES))
    trainer = run.trainer()
    parts, seed = trainer.setup.programs[0].parts, trainer.setup.settings.seed
    parameters = dict(trainer.state.learner.named_parameters())
    optimizer, updates = trainer.state.optimizer, Counter[str]()
    users = {
        name: {part for part in parts.names if _reads(part, name)} for name in parameters
    }  # by the structure alone: the parts whose loss a parameter is in
    before: dict[str, list[torch.Tensor]] = {}
    for number, batches in trainer._load():
        trained = parts.draw(seed, number).name
        for name, parameter in parameters.items():
            before[name] = [parameter.detach().clone(), *(tensor.clone() for tensor in optimizer.state[parameter].values())]
        trainer._step(number, batches)
        for name, parameter in parameters.items():
            now = [parameter, *optimizer.state[parameter].values()]
            same = all(torch.equal(old, new) for old, new in zip(before[name], now, strict=True))
            assert same == (trained not in users[name]), (number, trained, name)
            updates[name] += trained in users[name]
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
        rows=lambda program, phase: PartedRows(dict.fromkeys(program.parts.names, rows)),
        held_out=PartedRows(dict.fromkeys(("dynamic_mlm", "rtd", "whole_word_mlm"), rows)),
    )
    run.go()
    records = [record for record in run.records() if "loss" in record]
    for term in ("dynamic_mlm/mlm", "whole_word_mlm/mlm", "rtd/mlm"):
        losses = [record[f"loss/{term}"] for record in records if f"loss/{term}" in record]
        assert losses[-1] < 0.4 < 2 < losses[0], term


def test_validation_measures_every_part_and_weighs_them_by_their_shares(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.steps=5",), (*TINY, SHARES))
    run.go()
    (measured,) = [record for record in run.records() if "val/loss" in record]
    for term in ("dynamic_mlm/mlm", "rtd/mlm", "rtd/rtd", "whole_word_mlm/mlm"):
        assert measured[f"val/loss/{term}"] > 0
    assert measured["val/rtd/rtd/accuracy"] > 0
    assert measured["val/dynamic_mlm/perplexity"] == pytest.approx(math.exp(measured["val/loss/dynamic_mlm/mlm"]))
    assert measured["val/loss/rtd"] == pytest.approx(measured["val/loss/rtd/mlm"] + 50 * measured["val/loss/rtd/rtd"])
    losses = {name: measured[f"val/loss/{name}"] for name in ("dynamic_mlm", "rtd", "whole_word_mlm")}
    expected = (3 * losses["dynamic_mlm"] + losses["rtd"] + 0.5 * losses["whole_word_mlm"]) / 4.5
    assert measured["val/loss"] == pytest.approx(expected)
    for part in mixture().parts.members:  # each is compared with the unigram loss of its own hidden tokens
        assert part.baseline is not None
        assert part.baseline.compare({name.removeprefix("val/"): value for name, value in measured.items()})
        assert measured[f"val/{part.name}/hidden_loss"] > 0


@pytest.mark.parametrize("name", ["dynamic_mlm", "rtd", "whole_word_mlm"])
def test_a_part_is_the_objective_alone(name: str) -> None:
    """It makes the same batches of the same rows, and with the same weights it computes the same loss."""
    part, whole = mixture().parts.named(name), learner_of(mixture()).train()
    width = ["objective.generator_width=0.5"] if name == "rtd" else []
    settings = pretrain_settings(compose([*SHAPE, f"objective={name}", *width]))
    alone = objectives.build(settings.objective, settings.model, VOCABULARY)
    assert isinstance(alone, Program)
    assert part.program.row_shape(14) == alone.row_shape(14)

    samples = np.arange(6)
    rows, keys = MemoryRows(6, alone.row_shape(14).length).fetch(samples), Keys(3, np.full(6, 2), samples)
    batch, expected = part.program.collate(rows, keys), alone.collate(rows, keys)
    assert batch.normalisers == expected.normalisers
    assert batch.targets.keys() == expected.targets.keys()
    assert batch.draws.keys() == expected.draws.keys()
    for one, other in zip(tensors_of(batch), tensors_of(expected), strict=True):
        assert torch.equal(one, other)

    torch.manual_seed(1)
    learner = alone.build(lambda model: backbones.build(model, VOCABULARY.size)).train()
    assert alone.loss(learner, expected, {})[0]["mlm"].total != part.program.loss(part.learner(whole), batch, {})[0]["mlm"].total
    weights = whole.state_dict()
    owners = ("", f"part_{name}.", "part_dynamic_mlm.")  # the backbone's own, the part's, and the head that it may be lent
    learner.load_state_dict(
        {key: next(weights[owner + key] for owner in owners if owner + key in weights) for key in learner.state_dict()}
    )
    terms, _ = Step(whole, "fp32")(part, batch, {})
    others, _ = alone.loss(learner, expected, {})
    assert tuple(terms) == tuple(others) == alone.terms
    for term in alone.terms:
        assert torch.equal(terms[term].total, others[term].total)
        assert (terms[term].weight, terms[term].normaliser) == (others[term].weight, others[term].normaliser)


def tensors_of(batch: Batch) -> list[torch.Tensor]:
    """Return the tensors of a batch, in one order."""
    tensors: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        tensors.append(tensor)
        return tensor

    batch.map(keep)
    assert any(batch.inputs.ids is tensor for tensor in tensors)
    return tensors


def test_measures_have_the_name_of_their_part() -> None:
    part = mixture().parts.named("rtd")
    assert [part.key(name) for name in ("loss", "loss/rtd", "rtd/auc", "hidden_loss")] == [
        "loss/rtd",
        "loss/rtd/rtd",
        "rtd/rtd/auc",
        "rtd/hidden_loss",
    ]


def test_the_part_with_the_largest_share_answers_unless_another_is_named() -> None:
    program = mixture()
    assert program.parts.main.name == "dynamic_mlm"
    learner = learner_of(program)
    assert list(learner.models()) == ["dynamic_mlm", "rtd/discriminator", "rtd/generator", "whole_word_mlm"]
    assert mixture("objective.shares={mlm: 1, rtd: 1}").parts.main.name == "mlm"
    for modules in learner.models().values():
        assert sum(isinstance(module, backbones.Backbone) for module in modules) == 1
    assert next(iter(learner_of(mixture("objective.shares={mlm: 1, rtd: 2}")).models())) == "rtd/discriminator"

    ids = torch.tensor([[2, 9, 4, 8, 3]])
    masked = learner.part("dynamic_mlm")
    main = program.parts.main.learner(learner.eval())
    assert main is masked
    scores = main.token_scores(Inputs(ids=ids))
    torch.testing.assert_close(scores, masked.scores(learner.backbone.encode(Inputs(ids=ids))))


def test_rows_of_every_part_have_its_length() -> None:
    program = mixture()
    settings = pretrain_settings(compose([*TINY, SHARES]))
    from plmtrain.data.loading.order import plan_phases

    rows = memory_rows(program, plan_phases(settings.trainer)[0], 10)
    assert isinstance(rows, PartedRows)
    assert set(rows.parts) == set(program.parts.names)
    assert len(rows) == max(map(len, rows.parts.values()))
