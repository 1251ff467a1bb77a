"""The recipes against what their papers and their authors' code say: the learning rate at every stage, and how much is read."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from support.papers import PAPERS

from plmtrain.data.loading.order import plan_phases
from plmtrain.optim.schedule import learning_rate
from plmtrain.programs.comparison import uniform
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.run import PretrainSettings


def recipe(name: str) -> PretrainSettings:
    data = ["data.languages=[en,de]"] if name in ("xlm", "mass", "mbart") else ["data=text"]
    return pretrain_settings(compose([f"experiment={name}", *data, "data.files=[x]"]))


def test_every_recipe_has_a_paper() -> None:
    assert set(PAPERS) | {"gpt3_125m", "distilbert", "tinybert"} == set(choices("experiment"))


def test_distilbert_counts_in_epochs() -> None:
    """Sanh et al. 2019, sections 2 and 3, and the defaults of the authors' train.py."""
    made = pretrain_settings(compose(["experiment=distilbert", "teacher=bert", "data=text", "data.files=[x]"]))
    taught: Any = made.objective
    assert (made.model.name, made.trainer.epochs, made.trainer.batch_size) == ("distilbert", 3, 4000)
    assert (taught.kl_weight, taught.mlm_weight, taught.cosine_weight, taught.temperature) == (5, 2, 1, 2)
    assert (taught.mask_probability, taught.frequency_exponent, taught.kl_over) == (0.15, 0.7, "real")
    optimiser = made.optimizer
    assert (optimiser.lr, optimiser.betas, optimiser.eps, optimiser.weight_decay) == (5e-4, (0.9, 0.98), 1e-6, 0)
    assert optimiser.clip_norm == 5
    rates = [learning_rate(step, made.schedule, optimiser.lr, 1000) for step in (25, 50, 525, 1000)]
    assert rates == pytest.approx([2.5e-4, 5e-4, 2.5e-4, 0], abs=1e-9)


def test_tinybert_learns_states_and_attention() -> None:
    """Jiao et al. 2020, sections 4.1 and 4.2, and the authors' general_distill.py with its command."""
    made = pretrain_settings(compose(["experiment=tinybert", "teacher=bert", "data=text", "data.files=[x]"]))
    model, taught = made.model.model_dump(), made.objective.model_dump()
    assert [model[key] for key in ("family", "layers", "width", "heads", "feed_forward")] == ["bert", 4, 312, 12, 1200]
    weights = {key: taught[f"{key}_weight"] for key in ("kl", "mlm", "cosine", "hidden", "attention")}
    assert weights == {"kl": 0, "mlm": 0, "cosine": 0, "hidden": 1, "attention": 1}
    assert (taught["token_head"], taught["initial_layers"], taught["taught_layers"]) == (False, "none", "uniform")
    assert uniform(4, 12) == [2, 5, 8, 11]  # g(m) = 3m, counted from 1
    assert uniform(6, 12) == [1, 3, 5, 7, 9, 11]  # g(m) = 2m
    trainer, optimiser = made.trainer, made.optimizer
    assert (trainer.epochs, trainer.batch_size, trainer.sequence_length) == (3, 256, 128)
    assert (optimiser.lr, optimiser.weight_decay, optimiser.bias_correction) == (5e-5, 0.01, False)
    rates = [learning_rate(step, made.schedule, optimiser.lr, 1000) for step in (50, 100, 550, 1000)]
    assert rates == pytest.approx([2.5e-5, 5e-5, 2.5e-5, 0], abs=1e-9)


def test_gpt3_counts_in_tokens() -> None:
    """Brown et al. 2020, appendix B: 300 billion tokens, warm-up over 375 million, decay to a tenth at 260 billion, a batch that
    grows from 32 thousand to half a million tokens over the first 4 billion."""
    made = recipe("gpt3_125m")
    phases = plan_phases(made.trainer)
    sizes = [phase.batch_size * phase.sequence_length for phase in phases]
    tokens = np.cumsum(np.repeat(sizes, [phase.steps for phase in phases]))
    assert (made.model.name, {phase.sequence_length for phase in phases}) == ("gpt3_125m", {2048})
    assert tokens[-1] == pytest.approx(300e9, rel=1e-4)
    assert (sizes[0], sizes[-1]) == (2**15, 2**19)
    assert set(np.diff(sizes)) == {2**15}
    assert tokens[sum(phase.steps for phase in phases[:-1])] == pytest.approx(3.75e9, rel=1e-3)
    steps = made.trainer.steps

    def rate(read: float) -> float:
        return learning_rate(int(np.searchsorted(tokens, read)) + 1, made.schedule, 1.0, steps)

    assert rate(375e6) == pytest.approx(1, abs=1e-3)
    assert rate(187.5e6) == pytest.approx(187.5e6 / 2**15 / made.schedule.warmup, abs=1e-3)
    assert rate(259.9e9) == pytest.approx(0.1, abs=1e-4)
    assert rate(259e9) > rate(260e9) == rate(299e9) == pytest.approx(0.1)
    assert (made.optimizer.lr, made.optimizer.betas, made.optimizer.weight_decay) == (6e-4, (0.9, 0.95), 0.1)


@pytest.mark.parametrize("name", PAPERS)
def test_the_learning_rate_is_the_papers_at_every_stage(name: str) -> None:
    paper, made = PAPERS[name], recipe(name)
    assert made.trainer.steps == paper.steps
    for step in (1, paper.warmup // 2, paper.warmup, paper.warmup + 1, paper.steps // 2, paper.steps - 1):
        rate = learning_rate(step, made.schedule, made.optimizer.lr, made.trainer.steps)
        assert rate == pytest.approx(paper.rate(step, paper.warmup, paper.peak, paper.steps), rel=1e-9), step


@pytest.mark.parametrize("name", PAPERS)
def test_as_many_tokens_are_read_as_in_the_paper(name: str) -> None:
    paper, made = PAPERS[name], recipe(name)
    assert made.model.name == paper.model
    read: dict[tuple[int, int], int] = {}
    for phase in plan_phases(made.trainer):
        shape = phase.sequence_length, phase.batch_size
        read[shape] = read.get(shape, 0) + phase.steps
    assert read == {(length, paper.rows): share * paper.steps for length, share in paper.phases.items()}


def test_dropout_is_off_in_the_last_tenth_of_barts_steps() -> None:
    first, last = plan_phases(recipe("bart").trainer)
    assert (first.dropout, last.dropout, last.first_step) == (True, False, 450_000)


@pytest.mark.parametrize("name", PAPERS)
def test_what_is_particular_to_the_paper(name: str) -> None:
    paper, made = PAPERS[name], recipe(name)
    assert {key: reduce(getattr, key.split("."), made) for key in paper.facts} == paper.facts


def test_predictions_a_row_are_those_of_the_authors_code() -> None:
    """0.15 of the length, up to BERT's 20 in 128 and 77 in 512 (max_predictions_per_seq)."""
    for name in ("bert", "albert"):
        made = recipe(name)
        for phase in plan_phases(made.trainer):
            most = phase.objective.get("max_predictions", made.objective.model_dump()["max_predictions"])
            assert 0 <= most - 0.15 * phase.sequence_length < 1, (name, phase.sequence_length)
