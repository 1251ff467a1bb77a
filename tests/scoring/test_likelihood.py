"""The likelihood of texts under each kind of model: against a loop over single tokens, and against transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.finished_run import randomised
from support.gpt2_twin import END, twins
from support.memory_rows import vocabulary_of

from plmtrain import objectives
from plmtrain.backbones import build
from plmtrain.batch import Inputs, Layout
from plmtrain.errors import SettingsError
from plmtrain.programs.causal import CausalLMLearner
from plmtrain.scoring.likelihood import Continuation, Likelihood, likelihood_of
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.text.vocabulary import Vocabulary

SHAPE = "model.layers=2 model.width=24 model.heads=3 model.feed_forward=40 model.positions=24 trainer.sequence_length=16".split()
SYSTEMS = {
    "gpt2": ["model=gpt2", "objective=clm"],
    "gpt3": ["model=gpt3_125m", "objective=clm", "model.window=3"],
    "gpt1": ["model=gpt1", "objective=clm"],
    "bert": ["model=bert", "objective=mlm"],
    "roberta": ["model=roberta", "objective=dynamic_mlm"],
    "electra": ["model=electra_small", "objective=rtd", "model.embedding_width=24"],
    "bart": ["model=bart", "objective=bart"],
    "t5": ["model=t5_v1_1_small", "objective=span_corruption", "model.head_width=8"],
    "t5_prefix": ["model=t5_small", "objective=prefix_lm", "model.head_width=8"],
    "xlnet": ["model=xlnet", "objective=plm"],
}
SIZE = 60


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def learner_of(system: str) -> tuple[Any, Vocabulary]:
    settings = pretrain_settings(compose([*SYSTEMS[system], *SHAPE]))
    vocabulary = vocabulary_of(settings.model.published.tokenizer, SIZE)
    program = objectives.build(settings.objective, settings.model, vocabulary)
    return randomised(program.build(lambda model: build(model, vocabulary.size))), vocabulary


def likelihood(system: str, **changes: Any) -> tuple[Likelihood, Any, Vocabulary]:
    learner, vocabulary = learner_of(system)
    return likelihood_of(learner, vocabulary, **{"batch_tokens": 40, **changes}), learner, vocabulary


def texts(vocabulary: Vocabulary, most: int, seed: int = 0) -> list[Continuation]:
    """Texts of many lengths with and without context, two of them equal."""
    random = np.random.default_rng(seed)
    made = []
    for length, first in ((5, 0), (most, most - 3), (1, 0), (7, 3), (7, 6), (most, 0), (4, 1)):
        ids = random.choice(vocabulary.ordinary_ids, length)
        starts = random.random(length) < 0.5
        starts[0] = True
        made.append(Continuation(ids, starts, first))
    return [*made, made[0]]


def loss(logits: torch.Tensor, token: int) -> float:
    return -float(logits.double().log_softmax(-1)[token])


@torch.no_grad()
def decoder_truth(learner: Any, vocabulary: Vocabulary, text: Continuation) -> list[float]:
    expected = []
    for place in range(text.first, len(text.tokens)):
        before = text.tokens[:place].tolist() if text.first else [vocabulary.document_end, *text.tokens[:place].tolist()]
        logits = learner.token_scores(Inputs(ids=torch.tensor([before]), layout=Layout(causal=True)))[0, -1]
        expected.append(loss(logits, int(text.tokens[place])))
    return expected


@torch.no_grad()
def bart_truth(learner: Any, vocabulary: Vocabulary, text: Continuation) -> list[float]:
    opening, closing, mask = (vocabulary[role] for role in ("cls", "sep", "mask"))
    read = torch.tensor([[opening, *text.tokens[: text.first].tolist(), mask, closing]])
    expected = []
    for place in range(text.first, len(text.tokens)):
        before = torch.tensor([[closing, opening, *text.tokens[:place].tolist()]])
        logits = learner.token_scores(Inputs(ids=read, decoder=Inputs(ids=before, layout=Layout(causal=True))))[0, -1]
        expected.append(loss(logits, int(text.tokens[place])))
    return expected


@torch.no_grad()
def t5_truth(learner: Any, vocabulary: Vocabulary, text: Continuation) -> list[float]:
    """A sentinel stands for what follows the context, and comes before it in what is written."""
    return written_truth(learner, vocabulary, text, [vocabulary.sentinels[0]])


def continued_truth(learner: Any, vocabulary: Vocabulary, text: Continuation) -> list[float]:
    """The encoder reads the context alone, as in the training."""
    return written_truth(learner, vocabulary, text, [])


@torch.no_grad()
def written_truth(learner: Any, vocabulary: Vocabulary, text: Continuation, mark: list[int]) -> list[float]:
    read = torch.tensor([[*text.tokens[: text.first].tolist(), *mark, vocabulary["eos"]]])
    expected = []
    for place in range(text.first, len(text.tokens)):
        before = torch.tensor([[vocabulary["pad"], *mark, *text.tokens[text.first : place].tolist()]])
        logits = learner.token_scores(Inputs(ids=read, decoder=Inputs(ids=before, layout=Layout(causal=True))))[0, -1]
        expected.append(loss(logits, int(text.tokens[place])))
    return expected


@torch.no_grad()
def xlnet_truth(learner: Any, vocabulary: Vocabulary, text: Continuation) -> list[float]:
    """One query at a time; what comes after it is replaced by another token."""
    expected = []
    length = len(text.tokens)
    for place in range(text.first, length):
        tokens = text.tokens.copy()
        tokens[place:] = vocabulary.ordinary_ids[0]
        ids = torch.tensor([[*tokens.tolist(), vocabulary["sep"], vocabulary["cls"]]])
        ranks = torch.tensor([[*range(1, length + 1), 0, 0]])
        inputs = Inputs(ids=ids, layout=Layout(ranks=ranks), segments=torch.tensor([[0] * (length + 1) + [2]]))
        hidden, _ = learner.streams.predict(inputs, torch.tensor([[place]]))
        expected.append(loss(learner.scores(hidden)[0, 0], int(text.tokens[place])))
    return expected


TRUTHS = {
    "gpt2": decoder_truth,
    "gpt3": decoder_truth,
    "gpt1": decoder_truth,
    "bart": bart_truth,
    "t5": t5_truth,
    "t5_prefix": continued_truth,
    "xlnet": xlnet_truth,
}


@pytest.mark.parametrize("system", TRUTHS)
def test_from_left_to_right_as_token_by_token(system: str) -> None:
    model, learner, vocabulary = likelihood(system)
    asked = texts(vocabulary, model.longest)
    measured = model.losses(asked)
    assert model.is_probability
    for text, losses in zip(asked, measured, strict=True):
        assert losses.tolist() == pytest.approx(TRUTHS[system](learner, vocabulary, text), rel=1e-5, abs=1e-5)
    assert measured[0].tolist() == measured[-1].tolist()


def test_the_first_token_is_not_scored_where_nothing_stands_before_it() -> None:
    """GPT-1's published vocabulary has no token that ends documents; all other tokens are scored as ever."""
    learner, vocabulary = learner_of("gpt1")
    bare = Vocabulary(SIZE, {}, ())
    model = likelihood_of(learner, bare, batch_tokens=40)
    assert any("first token" in note for note in model.notes)
    assert not likelihood_of(learner, vocabulary, batch_tokens=40).notes
    for text, losses in zip(asked := texts(vocabulary, model.longest), model.losses(asked), strict=True):
        scored = Continuation(text.tokens, text.word_starts, max(1, text.first))
        assert losses.tolist() == pytest.approx(decoder_truth(learner, bare, scored), rel=1e-5, abs=1e-5)


@torch.no_grad()
def masked_truth(model: Any, vocabulary: Vocabulary, text: Continuation, also_hidden: str) -> list[float]:
    """Each token masked by hand."""
    expected, words = [], np.cumsum(text.word_starts)
    for place in range(text.first, len(text.tokens)):
        hidden = np.arange(len(text.tokens)) == place
        if also_hidden != "none":
            hidden |= (words == words[place]) & ((np.arange(len(words)) >= place) | (also_hidden == "whole_word"))
        ids = np.where(hidden, vocabulary["mask"], text.tokens).tolist()
        row = torch.tensor([[vocabulary["cls"], *ids, vocabulary["sep"]]])
        state = model.backbone.encode(Inputs(ids=row))[0, place + 1]
        expected.append(loss(model._head(state[None], model.backbone.embedding_weight)[0], int(text.tokens[place])))
    return expected


@pytest.mark.parametrize(
    ("system", "also_hidden"), [("bert", None), ("bert", "none"), ("roberta", "whole_word"), ("electra", "rest_of_word")]
)
def test_pseudo_likelihood_masks_one_token_after_the_other(system: str, also_hidden: str | None) -> None:
    model, _, vocabulary = likelihood(system, also_hidden=also_hidden)
    of = " of the generator" if system == "electra" else ""
    assert (model.name, model.is_probability) == (f"pseudo-log-likelihood{of}", False)
    asked = texts(vocabulary, model.longest)
    for text, losses in zip(asked, model.losses(asked), strict=True):
        expected = masked_truth(model, vocabulary, text, also_hidden or "rest_of_word")
        assert losses.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_loss_of_transformers(tmp_path_factory: pytest.TempPathFactory) -> None:
    theirs, ours = twins(tmp_path_factory.mktemp("gpt2"))
    vocabulary = Vocabulary(size=END + 1, roles={"eos": END, "pad": END}, special_ids=(END,))
    model = likelihood_of(CausalLMLearner(ours).eval(), vocabulary, batch_tokens=100)
    asked = [Continuation(text.tokens, text.word_starts, max(1, text.first)) for text in texts(vocabulary, model.longest, 1)]
    for text, losses in zip(asked, model.losses(asked), strict=True):
        if not text.scored:
            assert losses.tolist() == []
            continue
        ids = torch.from_numpy(text.tokens)[None]
        labels = ids.clone()
        labels[:, : text.first] = -100
        with torch.no_grad():
            assert losses.mean() == pytest.approx(theirs(input_ids=ids, labels=labels).loss.item(), rel=1e-5)


def test_what_has_no_likelihood_is_told() -> None:
    with pytest.raises(SettingsError, match="only an encoder predicts"):
        likelihood("gpt2", also_hidden="none")
    learner, vocabulary = learner_of("gpt2")
    learner.head = torch.nn.Linear(24, 2)  # as a classifier has one
    with pytest.raises(SettingsError, match="no language-model head"):
        likelihood_of(learner, vocabulary, batch_tokens=40)
