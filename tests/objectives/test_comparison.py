"""The comparison of a student with its teacher: states and attention (Jiao et al. 2020), and decoders (Sanh et al. 2019)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import MemoryRows
from support.pupils import SHAPE, STUDENT, TEACHER, built, pupil, rows, softmax, taught

from plmtrain.errors import SettingsError
from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.settings.objectives.causal_distillation import CausalDistillationSettings
from plmtrain.settings.objectives.clm import CausalLMSettings
from plmtrain.settings.objectives.distillation import DistillationSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def heads(weight: torch.Tensor, bias: torch.Tensor, states: np.ndarray, count: int) -> np.ndarray:
    """One of the three products of an attention layer, by heads.  # [batch, heads, length, head width]"""
    mapped = states @ weight.detach().double().numpy().T + bias.detach().double().numpy()
    return np.stack(np.split(mapped, count, axis=-1), axis=1)


def attention(block: Any, states: np.ndarray, count: int) -> np.ndarray:
    """The scores of a layer for its input, before the softmax (Vaswani et al. 2017, section 3.2.1), by its weights."""
    joined = block.attention.query_key_value
    (query, key, _), (one, other, _) = joined.weight.chunk(3), joined.bias.chunk(3)
    queries, keys = heads(query, one, states, count), heads(key, other, states, count)
    return queries @ keys.transpose(0, 1, 3, 2) / np.sqrt(queries.shape[-1])


@pytest.mark.parametrize("layers", ["uniform", (3, 0)])
@pytest.mark.parametrize("documents", [False, True])
def test_states_and_attention_are_compared_as_in_tinybert(layers: Any, documents: bool) -> None:
    """Section 3.1: the embeddings, the states of layer m with those of layer g(m), and its attention; no position counts that is
    padding, and no pair of positions of which one does not see the other."""
    weights = {"kl_weight": 0, "mlm_weight": 0, "cosine_weight": 0, "hidden_weight": 1, "attention_weight": 1}
    wide = TEACHER.model_copy(update={"width": 24})
    program, learner = built(
        DistillationSettings(name="states", **weights, token_head=False, taught_layers=layers, teacher_width=24), STUDENT, 1
    )
    teacher = built(MaskedLMSettings(name="mlm"), wide, 2)[1].eval()
    given = rows()
    if documents:
        given = replace(given, documents=np.arange(given.tokens.shape[1])[None].repeat(len(given), 0) // 5)
    batch = taught(program, teacher, given)
    terms, _ = program.loss(learner.train(), batch, {})
    assert (set(terms), learner.token_head, program.answering, program.baseline) == ({"hidden", "attention"}, None, None, None)

    with torch.no_grad():
        ours, theirs = (
            [each.double().numpy() for each in one.backbone.encode_layers(batch.inputs)] for one in (learner, teacher)
        )
    mapping = [1, 3] if layers == "uniform" else list(layers)
    real = np.arange(14) < np.arange(10, 15)[:, None]
    weight, bias = (each.detach().double().numpy() for each in (learner.projection.weight, learner.projection.bias))
    hidden = [(ours[0], theirs[0]), *((ours[m + 1], theirs[g + 1]) for m, g in enumerate(mapping))]
    expected = sum((((one @ weight.T + bias - other) ** 2).mean(axis=-1) * real).sum() for one, other in hidden)
    assert (terms["hidden"].total.item(), terms["hidden"].normaliser) == (pytest.approx(expected, rel=1e-5), real.sum())

    seen = real[:, :, None] & real[:, None, :]
    if documents:
        numbers = batch.layout.documents.numpy()
        seen &= numbers[:, :, None] == numbers[:, None, :]
        assert seen.sum() < (real[:, :, None] & real[:, None, :]).sum()
    expected = 0.0
    for m, g in enumerate(mapping):
        one = attention(learner.backbone.layers[m], ours[m], 2)
        other = attention(teacher.backbone.layers[g], theirs[g], 2)
        expected += (((one - other) ** 2).mean(axis=1) * seen).sum()
    assert (terms["attention"].total.item(), terms["attention"].normaliser) == (pytest.approx(expected, rel=1e-5), seen.sum())

    torch.stack([term.total for term in terms.values()]).sum().backward()
    assert not [name for name, parameter in learner.named_parameters() if parameter.grad is None or not parameter.grad.any()]


def test_attention_is_not_scored_without_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any) -> None:
        raise AssertionError("scored")

    monkeypatch.setattr("plmtrain.nn.blocks.attention_scores", never)
    program, learner, teacher = pupil(hidden_weight=1.0)
    batch = taught(program, teacher)
    assert "attention" not in batch.lessons
    assert {"kl", "mlm", "cosine", "hidden"} == set(program.loss(learner, batch, {})[0])


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("width", [16, 24])
def test_a_decoder_learns_from_a_decoder(norm: str, width: int) -> None:
    """GPT-2 and GPT-1: the probabilities of the next token at every position, the next tokens, and the states and the attention,
    the latter where a position sees another."""
    shape = {**SHAPE, "family": "gpt2", "norm": norm, "dropout": 0.0, "attention_dropout": 0.0}
    student = DecoderSettings(**shape, layers=2, width=width)
    settings = CausalDistillationSettings(
        name="causal_distillation", temperature=3.0, hidden_weight=1.0, attention_weight=1.0, teacher_width=16
    )
    program, learner = built(settings, student, 1)
    teacher = built(CausalLMSettings(name="clm"), DecoderSettings(**shape, layers=4, width=16), 2)[1].eval()
    assert not list(program.unfit(None, teacher))
    given = MemoryRows(4, 11).fetch(np.arange(4))
    given = replace(given, documents=np.arange(11)[None].repeat(4, 0) // 4)
    batch = taught(program, teacher, given)
    terms, _ = program.loss(learner.train(), batch, {})
    with torch.no_grad():
        theirs, ours = (one.token_scores(batch.inputs).double().numpy() for one in (teacher, learner))
        states = [[each.double().numpy() for each in one.backbone.encode_layers(batch.inputs)] for one in (teacher, learner)]
    wanted, likely = softmax(theirs / 3), softmax(ours / 3)
    kl = 9 * (wanted * (np.log(wanted) - np.log(likely))).sum()
    clm = -np.log(np.take_along_axis(softmax(ours), given.tokens[:, 1:, None], axis=-1)).sum()
    expected = {"kl": (kl, 40, 5), "clm": (clm, 40, 2)}
    for name, (total, count, weight) in expected.items():
        term = terms[name]
        assert (term.total.item(), term.normaliser, term.weight) == (pytest.approx(total, rel=1e-5), count, weight), name
    assert terms["hidden"].normaliser == terms["cosine"].normaliser == 40

    numbers = given.documents[:, 1:]
    seen = np.tril(np.ones((10, 10), bool)) & (numbers[:, :, None] == numbers[:, None, :])
    total = 0.0
    for m, g in enumerate([1, 3]):
        scores = []
        for place, (one, layer) in enumerate(((teacher, g), (learner, m))):
            block, read = one.backbone.layers[layer], torch.from_numpy(states[place][layer]).float()
            read = block.attention_norm(read) if norm == "pre" else read
            scores.append(attention(block, read.detach().double().numpy(), 2))
        total += (((scores[0] - scores[1]) ** 2).mean(axis=1) * seen).sum()
    assert (terms["attention"].total.item(), terms["attention"].normaliser) == (pytest.approx(total, rel=1e-4), seen.sum())

    sum(term.weight * term.total for term in terms.values()).backward()
    assert not [name for name, parameter in learner.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    if width == 16:
        assert "layers 0, 3" in program.inherit(learner, teacher)
        assert torch.equal(learner.backbone.layers[1].attention.output.weight, teacher.backbone.layers[3].attention.output.weight)
    else:
        with pytest.raises(SettingsError, match="cannot start"):
            program.inherit(learner, teacher)


@pytest.mark.parametrize(
    ("changes", "settings", "teacher", "what"),
    [
        ({"heads": 4}, {"attention_weight": 1.0}, {}, "the teacher has 2 attention heads, and the student 4"),
        ({}, {"hidden_weight": 1.0, "taught_layers": (0, 4)}, {}, "taught_layers names the layers 0, 4"),
        ({}, {"hidden_weight": 1.0, "taught_layers": (0,)}, {}, "the student has 2 layers"),
        ({}, {}, {"width": 24}, "have 24 numbers, and objective.teacher_width says 16"),
    ],
)
def test_a_teacher_that_cannot_be_compared_with_is_refused(
    changes: dict[str, Any], settings: dict[str, Any], teacher: dict[str, Any], what: str
) -> None:
    program, _, _ = pupil(STUDENT.model_copy(update=changes), **settings)
    learner = built(MaskedLMSettings(name="mlm"), TEACHER.model_copy(update=teacher), 2)[1]
    ((told, remedy),) = program.unfit(program, learner)
    assert what in told
    assert remedy


def test_a_teacher_of_another_kind_is_refused() -> None:
    program, _, _ = pupil()
    decoder = DecoderSettings(**{**SHAPE, "family": "gpt2"}, layers=4, width=16)
    ((told, _),) = program.unfit(program, built(CausalLMSettings(name="clm"), decoder, 2)[1])
    assert "of kind decoder" in told
