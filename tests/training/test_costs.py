"""What a step costs, against the arithmetic of the papers' shapes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import VOCABULARY, MemoryRows, memory_rows, vocabulary_of

from plmtrain import backbones, objectives
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.programs.answering import Answering
from plmtrain.programs.program import AnyProgram
from plmtrain.runs.step_shapes import seconds_of_answers
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.run import PretrainSettings
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training import costs
from plmtrain.training.costs import Work, measure, work_of
from plmtrain.training.group import Group
from plmtrain.training.state import checkpoint_size
from plmtrain.training.step import Step

LENGTH, LAYERS, WIDTH, INNER, TOKENS = 24, 3, 16, 40, VOCABULARY.size
SHAPE = (
    f"model.layers={LAYERS} model.width={WIDTH} model.heads=2 model.feed_forward={INNER} trainer.sequence_length={LENGTH}".split()
)
FORTH_AND_BACK = 3
"""The way back has two products for each one of the way forth: for the inputs and for the weights."""


class Fresh(MemoryRows):
    """Rows of a text with other texts, of which each begins anew."""

    def __init__(self, count: int, program: AnyProgram) -> None:
        super().__init__(count, program.row_shape(LENGTH).length)
        self.others = MemoryRows(count, max(1, program.row_shape(LENGTH).others), seed=1)

    def fetch(self, indices: np.ndarray) -> Rows:
        rows, others = super().fetch(indices), self.others.fetch(indices)
        return Rows(**{**rows.__dict__, "times": np.ones(len(indices), np.int64), "others": others})


def made(*words: str, vocabulary: Vocabulary = VOCABULARY) -> tuple[PretrainSettings, AnyProgram, torch.nn.Module]:
    torch.set_num_threads(1)
    settings = pretrain_settings(compose([*SHAPE, *words]))
    program = objectives.build(settings.objective, settings.model, vocabulary)
    learner = program.build(lambda model: backbones.build(model, vocabulary.size)).train()
    return settings, program, learner


def work(*words: str) -> tuple[Work, AnyProgram]:
    _, program, learner = made(*words)
    module = Step(learner, "fp32")
    return work_of(module, program.parts.main, Fresh(4, program), torch.device("cpu"), seed=1), program


class Slow(Answering[Any]):
    """Answers that take two seconds, and three more for each row, by a clock of their own."""

    def __init__(self) -> None:
        self.now, self.rows = 0.0, []

    def questions(self, texts: Any, tokenizer: Any) -> Any: ...

    def collate(self, rows: Rows) -> Any:
        return SimpleNamespace(to=lambda device: len(rows))

    def predict(self, learner: Any, batch: Any) -> Any:
        assert not learner.training
        self.rows.append(batch)
        self.now += 2 + 3 * batch

    def read_out(self, text: Any, ids: Any, answer: Any, tokenizer: Any) -> Any: ...


@pytest.mark.parametrize(("patience", "rows", "seconds"), [(1000.0, 20, 62.0), (31.0, 6, 20 * 20 / 6), (1.0, 1, 100.0)])
def test_answers_are_timed_as_a_validation_computes_them(
    patience: float, rows: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all rows of a batch, or with as many as take so long; there may be fewer held-out rows than in a batch."""
    slow, (_, program, learner) = Slow(), made("objective=mlm")
    monkeypatch.setattr(costs.time, "perf_counter", lambda: slow.now)
    taken = costs.answering_seconds(slow, learner, Fresh(4, program), 20, torch.device("cpu"), "fp32", patience)
    assert (taken, slow.rows[-1]) == (pytest.approx(seconds), rows)
    assert learner.training


def test_a_validation_answers_as_many_rows_at_once_as_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven batches of 20 rows: each of two processes answers its ten in two turns of five. The other part answers nothing."""
    slow, (settings, program, learner) = Slow(), made("objective=mlm", "trainer.batch_size=20", "trainer.micro_batch_size=5")
    monkeypatch.setattr(costs.time, "perf_counter", lambda: slow.now)
    answered, other = (
        SimpleNamespace(program=SimpleNamespace(answering=answering), learner=lambda learner: learner)
        for answering in (slow, None)
    )
    monkeypatch.setattr(Slow, "scored", ("f1",))
    rows: Any = Fresh(4, program)
    (phase,) = plan_phases(settings.trainer)
    batches: Any = [(answered, rows, 7), (other, rows, 9)]
    group = Group("cpu", 60, 1)
    taken = seconds_of_answers(batches, learner, phase, group, "fp32", processes=2, patience=1000.0)
    assert taken == pytest.approx(7 * 2 * (2 + 3 * 5))


def predicted(program: AnyProgram, term: str = "mlm") -> float:
    rows = Fresh(4, program).fetch(np.arange(2))
    return program.collate(rows, Keys(1, np.zeros(2, np.int64), np.arange(2))).normalisers[term] / 2


def encoder(length: float, read: float, layers: int = LAYERS, width: int = WIDTH, inner: int = INNER) -> float:
    """Of a row on the way forth; behind attention the last layer works only where somebody reads it."""
    attention = 2 * length * 3 * width**2 + 4 * length**2 * width
    behind = 2 * width**2 + 4 * width * inner
    return layers * attention + (layers - 1) * length * behind + read * behind


def test_masked_language_modelling() -> None:
    """Every layer once, embeddings never, the vocabulary where something is predicted."""
    found, program = work("model=bert", "objective=mlm")
    count = predicted(program)
    forth = encoder(LENGTH, count) + 2 * count * (WIDTH**2 + WIDTH * TOKENS)
    assert found.flops == (0, FORTH_AND_BACK * forth)
    assert found.flops_of(7) == 7 * FORTH_AND_BACK * forth


def test_attention_by_torchs_kernel_counts_as_much() -> None:
    """Without dropout a CPU takes a kernel that torch's own table lacks; its way back makes the scores once more."""
    still = work("model=bert", "objective=mlm", "model.dropout=0", "model.attention_dropout=0")[0]
    dropping = work("model=bert", "objective=mlm")[0]
    scores = LAYERS * 2 * LENGTH**2 * WIDTH
    assert still.flops_of(1) == dropping.flops_of(1) + scores


def test_shared_layers_are_applied_as_often() -> None:
    found, program = work("model=albert", "objective=mlm", "model.embedding_width=8")
    count = predicted(program)
    forth = encoder(LENGTH, count) + 2 * LENGTH * 8 * WIDTH + 2 * count * (WIDTH * 8 + 8 * TOKENS)
    assert found.flops_of(1) == pytest.approx(FORTH_AND_BACK * forth)


def test_two_encoders() -> None:
    found, program = work(
        "model=electra_small",
        "objective=rtd",
        "model.embedding_width=8",
        "objective.generator_width=0.5",
        "objective.generator_head_width=4",
        "objective.generator_layers=1",
        "objective.generator_feed_forward=2",
    )
    count = predicted(program)
    generator = encoder(LENGTH, count, width=8, inner=16) + 2 * count * (8 * 8 + 8 * TOKENS)
    generator += 2 * LENGTH * 8 * 8 if program.build.__self__.generator_settings().always_project else 0  # type: ignore[attr-defined]
    discriminator = encoder(LENGTH, LENGTH) + 2 * LENGTH * (8 * WIDTH + WIDTH**2 + WIDTH)
    assert found.flops_of(1) == pytest.approx(FORTH_AND_BACK * (generator + discriminator))


def test_two_streams() -> None:
    """Each stream's queries against the memory's and the row's keys, and against a table of distances, made once a batch."""
    remembered = 9
    found, program = work("model=xlnet", "objective=plm", f"objective.mem_len={remembered}", "objective.num_predict=5")
    count = predicted(program, "plm")
    keys, distances = remembered + LENGTH, remembered + 2 * LENGTH

    def stream(queries: float) -> float:
        attention = 4 * queries * WIDTH**2 + 4 * queries * keys * WIDTH + 2 * queries * distances * WIDTH + 2 * queries * WIDTH
        return attention + 4 * queries * WIDTH * INNER

    forth = LAYERS * (4 * keys * WIDTH**2 + stream(count)) + (LAYERS - 1) * stream(LENGTH) + 2 * count * WIDTH * TOKENS
    table = LAYERS * 2 * distances * WIDTH**2
    assert found.flops == (2 * table, FORTH_AND_BACK * forth)  # the sinusoids are given, and nothing goes back into them


def test_an_encoder_and_a_decoder() -> None:
    """The decoder's layers have attention to the encoder's states besides, and score the vocabulary at every token."""
    found, program = work("model=bart", "objective=bart", "objective.mask=0.2", "objective.infill=0", "objective.permute=0")
    batch = program.collate(Fresh(4, program).fetch(np.arange(2)), Keys(1, np.zeros(2, np.int64), np.arange(2)))
    read, written = batch.inputs.ids.shape[1], batch.inputs.decoder.ids.shape[1]
    across = LAYERS * (4 * written * WIDTH**2 + 4 * read * WIDTH**2 + 4 * written * read * WIDTH)
    scores = 2 * len(batch.targets["labels"]) // 2 * WIDTH * TOKENS
    forth = encoder(read, read) + encoder(written, written) + across + scores
    assert found.flops_of(1) == FORTH_AND_BACK * forth


@pytest.mark.parametrize(
    "words",
    [
        ("model=bert", "objective=mlm"),
        ("model=albert", "objective=sop", "model.embedding_width=8"),
        ("model=electra_small", "objective=span_mlm", "model.embedding_width=8"),
        ("model=xlm", "objective=dynamic_mlm", "model.head_layer=false"),
        ("model=electra_small", "objective=rtd", "objective.generator_width=0.5", "objective.generator_head_width=4"),
        ("model=gpt2", "objective=clm"),
        ("model=gpt2", "objective=clm", "model.window=7"),
        ("model=bart", "objective=bart", "objective.mask=0.2", "objective.infill=0", "model.decoder_layers=2"),
        ("model=mass", "objective=mass"),
        ("model=t5_base", "objective=span_corruption", "model.decoder_layers=2", "model.head_width=12"),
        ("model=t5_v1_1_small", "objective=span_corruption", "model.dropout=0.1", "model.attention_dropout=0.1"),
    ],
    ids=lambda words: "-".join(word.partition("=")[2] for word in words),
)
def test_the_closed_forms_are_what_torch_counts(words: tuple[str, ...]) -> None:
    """With dropout of attention: a kernel without it computes the scores once more on the way back."""
    vocabulary = vocabulary_of("t5") if words[0].startswith("model=t5") else VOCABULARY
    settings, program, learner = made(*words, vocabulary=vocabulary)
    (phase,) = plan_phases(settings.trainer)
    rows = memory_rows(program, phase, 4, 0)
    samples = np.arange(2)
    batch = program.collate(rows.fetch(samples), Keys(settings.seed, np.zeros(2, np.int64), samples))
    forward = program.flops(batch, vocabulary.size)
    assert forward is not None
    counted, _, _ = costs._forward_and_backward(Step(learner, "fp32"), program.parts.main, batch)
    assert FORTH_AND_BACK * forward == counted


@pytest.mark.parametrize("words", [("model=xlnet", "objective=plm"), ("model=bert", "objective=spanbert")])
def test_other_programs_have_no_closed_form(words: tuple[str, ...]) -> None:
    settings, program, _ = made(*words)
    (phase,) = plan_phases(settings.trainer)
    samples = np.arange(2)
    batch = program.collate(memory_rows(program, phase, 4, 0).fetch(samples), Keys(1, np.zeros(2, np.int64), samples))
    assert program.flops(batch, TOKENS) is None


def test_room_for_a_checkpoint_is_what_a_checkpoint_takes() -> None:
    """XLNet's carry included: what it may be at most is what it comes to."""
    settings, program, learner = made("model=xlnet", "objective=plm", "objective.mem_len=20", "trainer.batch_size=4")
    batch = program.collate(Fresh(4, program).fetch(np.arange(4)), Keys(1, np.zeros(4, np.int64), np.arange(4)))
    carry: Any = {}
    for _ in range(4):
        _, carry = program.loss(learner, batch, carry)
    carried = sum(tensor.nbytes for tensor in carry.values())
    assert program.row_shape(LENGTH).carry_bytes * 4 == carried > 0
    weights = sum(weight.nbytes for weight in learner.parameters())
    assert checkpoint_size(learner, 2, carried) == 3 * weights + carried
    assert settings.trainer.batch_size == 4
    assert made("model=bert", "objective=mlm")[1].row_shape(LENGTH).carry_bytes == 0


def test_rows_keep_memory_in_proportion() -> None:
    """At least the inputs of every product must be kept; a bias of torch's own may add to that, but not much."""
    found, _ = work("model=bert", "objective=mlm")
    least = 4 * LENGTH * LAYERS * (2 * WIDTH + INNER)
    assert least < found.kept[1] < 12 * least
    assert found.kept[0] < 0.2 * found.kept[1]


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "adagrad", "lamb", "muon"])
def test_steps_at_a_rate_of_zero_change_no_weight(optimizer: str) -> None:
    settings, program, learner = made("model=bert", "objective=mlm", f"optimizer={optimizer}", "trainer.batch_size=4")
    still = settings.model_copy(update={"optimizer": settings.optimizer.model_copy(update={"lr": 0.0})})
    before = [weight.detach().clone() for weight in learner.parameters()]
    (phase,) = plan_phases(settings.trainer)
    measure(Step(learner, "fp32"), program.parts.main, Fresh(40, program), phase, still, "fp32", Group("cpu", 60, 1))
    assert all(torch.equal(old, new) for old, new in zip(before, learner.parameters(), strict=True))


def test_real_steps_are_taken_and_timed() -> None:
    settings, program, learner = made("model=bert", "objective=mlm", "trainer.batch_size=8", "trainer.micro_batch_size=4")
    before = [weight.detach().clone() for weight in learner.parameters()]
    (phase,) = plan_phases(settings.trainer)
    measured = measure(
        Step(learner, "fp32"), program.parts.main, Fresh(40, program), phase, settings, "fp32", Group("cpu", 60, 1)
    )
    assert measured.rows == 8
    assert measured.tokens == 8 * LENGTH
    assert 0 < measured.seconds < 60
    assert any(not torch.equal(old, new) for old, new in zip(before, learner.parameters(), strict=True))
