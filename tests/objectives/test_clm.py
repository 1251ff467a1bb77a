"""Causal language modelling: every token is predicted once from those before it, the loss is in chunks, and nothing leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.memory_rows import memory_store, vocabulary_of
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plmtrain import backbones
from plmtrain.batch import Batch
from plmtrain.commands import predict
from plmtrain.data.rows.blocks import Blocks
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import Keys
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.objectives.clm import CausalLM
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.settings.objectives.clm import CausalLMSettings
from plmtrain.training.step import Step

VOCABULARY = vocabulary_of("gpt2", 64)
LENGTH = 16
SHAPE: dict[str, Any] = {"name": "tiny", "layers": 2, "width": 32, "heads": 2, "feed_forward": 64, "positions": LENGTH}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def program(**changes: Any) -> CausalLM:
    model = DecoderSettings(**{**SHAPE, "dropout": 0, "attention_dropout": 0, **changes})
    return CausalLM(CausalLMSettings(name="clm"), model, VOCABULARY)


def text() -> Any:
    return memory_store(20 * LENGTH + 3, 1, VOCABULARY)


def batch(rows: int, *, isolated: bool = False, clm: CausalLM | None = None) -> Batch:
    clm = clm or program()
    shape = clm.row_shape(LENGTH)
    source = Blocks(text(), shape.length, isolated, shape.advance)
    samples = np.arange(rows)
    return clm.collate(source.fetch(samples), Keys(0, np.zeros(rows, np.int64), samples))


def learner(clm: CausalLM, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return clm.build(lambda model: backbones.build(model, VOCABULARY.size))


def test_every_token_but_the_first_is_predicted_once_from_the_one_before_it() -> None:
    store = text()
    shape = program().row_shape(LENGTH)
    source = Blocks(store, shape.length, False, shape.advance)
    made = batch(len(source))
    flat = np.asarray(store.tokens)[: len(source) * LENGTH + 1]
    assert len(source) == (len(store.tokens) - 1) // LENGTH
    assert made.inputs.ids.flatten().tolist() == flat[:-1].tolist()
    assert made.targets["labels"].tolist() == flat[1:].tolist()
    assert made.normalisers == {"clm": float(len(flat) - 1)}


def test_the_loss_is_the_mean_negative_log_likelihood() -> None:
    clm = program()
    model, made = learner(clm), batch(5)
    terms, _ = clm.loss(model, made, {})
    logits = model.token_scores(made.inputs).flatten(0, 1)
    torch.testing.assert_close(terms["clm"].total, functional.cross_entropy(logits, made.targets["labels"], reduction="sum"))


def test_validation_leaves_document_ends_out_of_the_comparison() -> None:
    clm = program()
    model, made = learner(clm).eval(), batch(20)
    with torch.no_grad():
        terms, _ = clm.loss(model, made, {})
        logits = model.token_scores(made.inputs).flatten(0, 1)
    labels = made.targets["labels"]
    of_text = labels != VOCABULARY["eos"]
    assert 0 < of_text.sum() < len(labels)
    counts = {f"clm/{name}": value.double().numpy() for name, value in terms["clm"].counts.items()}
    unigram = np.linspace(1, 9, VOCABULARY.size)
    measured = clm.measures(counts, unigram)
    assert measured["text_loss"] == pytest.approx(functional.cross_entropy(logits[of_text], labels[of_text]).item(), rel=1e-5)
    assert measured["unigram_loss"] == pytest.approx(unigram[labels[of_text].numpy()].mean())


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("isolated", [False, True], ids=["packed", "isolated"])
def test_a_prediction_reads_what_is_before_it_and_of_its_document(isolated: bool, window: int | None) -> None:
    """A document begins with the end of the one before it, which says that anything may come."""
    clm = program(window=window)
    model, made = learner(clm), batch(6, isolated=isolated, clm=clm)
    labels = made.targets["labels"].view(6, LENGTH)
    kept: list[Any] = []
    model.decoder.token.register_forward_hook(lambda module, given, out: kept.append(out.detach().requires_grad_()) or kept[-1])
    scores = model.token_scores(made.inputs)
    ends = labels == VOCABULARY["eos"]
    document = ends.cumsum(1) - ends.long()  # of each predicted token; an end belongs to the document that it ends
    assert document.max() > 0
    for place in range(LENGTH):
        (gradient,) = torch.autograd.grad(scores[:, place].sum(), kept[0], retain_graph=True)
        reached = gradient.abs().sum(-1) != 0
        may = (torch.arange(LENGTH) <= place).expand(6, -1)
        if isolated:
            may = may & (document == document[:, place : place + 1])
        assert not (reached & ~may).any()
        if window is None:
            assert (reached == may).all()


def test_eight_rows_are_overfitted() -> None:
    clm = program(initial_std=0.1)
    model, made = learner(clm).train(), batch(8)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(250):
        optimizer.zero_grad()
        total = clm.loss(model, made, {})[0]["clm"].total / made.normalisers["clm"]
        total.backward()
        optimizer.step()
    predicted = model.eval().token_scores(made.inputs).argmax(-1).flatten()
    # A row's first tokens can be ambiguous: nothing before them tells the rows apart.
    assert (predicted == made.targets["labels"]).float().mean() > 0.93


def test_every_parameter_gets_a_gradient() -> None:
    clm = program()
    model = learner(clm)
    Step(model, "fp32")(clm.parts.main, batch(8), {})[0]["clm"].total.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that an operation makes."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        made = function(*arguments, **(named or {}))
        sizes = [value.numel() for value in tree_leaves(made) if isinstance(value, torch.Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return made


@pytest.mark.parametrize("grad", [True, False])
def test_the_logits_of_a_batch_never_stand_in_memory_whole(grad: bool) -> None:
    positions, vocabulary = 4096, 20_000
    hidden = torch.randn(positions, 8, requires_grad=grad)
    table = torch.randn(vocabulary, 8, requires_grad=grad)
    labels = torch.randint(0, vocabulary, (positions,))
    with Largest() as seen:
        total, _ = tied_cross_entropy(hidden, table, labels)
        if grad:
            total.backward()
    assert 0 < seen.elements < positions * vocabulary / 4


def test_options_of_generation_as_the_command_line_gives_them() -> None:
    """Numbers and switches as text, stop texts as a list, in the letters in which they are written."""
    options = dict.fromkeys(GenerationSettings.model_fields)
    chosen = predict._generation({**options, "stop": ["The", "\n"], "beams": "2", "early_stopping": True})
    assert chosen == GenerationSettings(stop=("The", "\n"), beams=2, early_stopping=True)


def test_new_tokens_that_leave_no_room_for_a_prompt_are_refused() -> None:
    with pytest.raises(SettingsError, match="16 positions: 16 new tokens"):
        program().answering.writing(GenerationSettings(max_new_tokens=16), None)
    assert program().answering.writing(GenerationSettings(max_new_tokens=15), None).longest == 1
