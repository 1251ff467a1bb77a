"""The learner of each objective: the models that it is made of, its head for the vocabulary, its pooler, and its scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from plmtrain import backbones, objectives
from plmtrain.batch import Inputs, Layout
from plmtrain.errors import SettingsError
from plmtrain.programs.learner import Learner
from plmtrain.settings.lookup import objective_classes
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.models.relative_encoder_decoder import RelativeEncoderDecoderSettings
from plmtrain.settings.models.two_stream import TwoStreamSettings
from plmtrain.settings.objectives.bart import BartSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.objectives.bilm import BidirectionalLMSettings
from plmtrain.settings.objectives.causal_distillation import CausalDistillationSettings
from plmtrain.settings.objectives.clm import CausalLMSettings
from plmtrain.settings.objectives.deshuffling import DeshufflingSettings
from plmtrain.settings.objectives.distillation import DistillationSettings
from plmtrain.settings.objectives.encoder_clm import EncoderCLMSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings
from plmtrain.settings.objectives.masked_text import MaskedTextSettings
from plmtrain.settings.objectives.mass import MassSettings
from plmtrain.settings.objectives.nsp import NextSentenceSettings
from plmtrain.settings.objectives.plm import PermutationLMSettings
from plmtrain.settings.objectives.prefix_lm import PrefixLMSettings
from plmtrain.settings.objectives.rtd import RTDSettings
from plmtrain.settings.objectives.sop import SentenceOrderSettings
from plmtrain.settings.objectives.span_corruption import SpanCorruptionSettings
from plmtrain.settings.objectives.span_mlm import SpanMLMSettings
from plmtrain.settings.objectives.spanbert import SpanBERTSettings
from plmtrain.settings.objectives.tlm import TranslationLMSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(64, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
SHAPE: dict[str, Any] = {"name": "tiny", "layers": 2, "width": 32, "heads": 2, "feed_forward": 64}
ENCODER = EncoderSettings(**SHAPE, positions=64)
IDS = torch.tensor([[2, 9, 4, 8, 3], [2, 7, 7, 30, 3]])

KINDS: dict[str, tuple[ObjectiveSettings, Any]] = {
    "masked_lm": (MaskedLMSettings(name="masked_lm"), ENCODER),
    "distillation": (DistillationSettings(name="distillation", teacher_width=48), ENCODER),
    "states": (
        DistillationSettings(name="states", kl_weight=0, mlm_weight=0, hidden_weight=1, token_head=False, teacher_width=48),
        ENCODER,
    ),
    "causal_distillation": (
        CausalDistillationSettings(name="causal_distillation", teacher_width=48),
        DecoderSettings(**SHAPE, positions=64),
    ),
    "span_mlm": (SpanMLMSettings(name="span_mlm"), ENCODER),
    "spanbert": (SpanBERTSettings(name="spanbert", position_width=20), ENCODER),
    "nsp": (NextSentenceSettings(name="nsp"), ENCODER),
    "sop": (SentenceOrderSettings(name="sop"), ENCODER),
    "rtd": (RTDSettings(name="rtd", generator_width=0.5), ENCODER.model_copy(update={"embedding_width": 24})),
    "tlm": (
        TranslationLMSettings(name="tlm"),
        ENCODER.model_copy(update={"family": "xlm", "segments": 0, "languages": ("en", "de"), "head_layer": False}),
    ),
    "encoder_clm": (
        EncoderCLMSettings(name="encoder_clm"),
        ENCODER.model_copy(update={"family": "xlm", "segments": 0, "causal": True, "head_layer": False}),
    ),
    "plm": (PermutationLMSettings(name="plm"), TwoStreamSettings(**SHAPE)),
    "bart": (BartSettings(name="bart"), EncoderDecoderSettings(**SHAPE, positions=64)),
    "mass": (MassSettings(name="mass"), EncoderDecoderSettings(**SHAPE, family="mass", positions=64)),
    "span_corruption": (SpanCorruptionSettings(name="span_corruption"), RelativeEncoderDecoderSettings(**SHAPE)),
    "masked_text": (MaskedTextSettings(name="masked_text"), RelativeEncoderDecoderSettings(**SHAPE, tied_output=False)),
    "deshuffling": (DeshufflingSettings(name="deshuffling"), EncoderDecoderSettings(**SHAPE, positions=64)),
    "prefix_lm": (PrefixLMSettings(name="prefix_lm"), DecoderSettings(**SHAPE, positions=64)),
    "clm": (CausalLMSettings(name="clm"), DecoderSettings(**SHAPE, positions=64)),
    "bilm": (
        BidirectionalLMSettings(name="bilm"),
        BiLSTMSettings(name="tiny", cells=24, projection=16, filters=((1, 8), (2, 8))),
    ),
}
DECODERS = ("clm", "prefix_lm", "causal_distillation")
PAIRED = ("bart", "mass", "span_corruption", "masked_text", "deshuffling")
"""Those of encoder-decoders."""

HEADS: dict[str, dict[str, list[str]]] = {
    "masked_lm": {"model": ["backbone", "head"]},
    "distillation": {"model": ["backbone", "head", "projection"]},
    "states": {"model": ["backbone", "projection"]},
    "causal_distillation": {"model": ["backbone", "projection"]},
    "span_mlm": {"model": ["backbone", "head"]},
    "spanbert": {"model": ["backbone", "head", "boundary_head"]},
    "nsp": {"model": ["backbone", "head", "pooler", "pair_head"]},
    "sop": {"model": ["backbone", "head", "pooler", "pair_head"]},
    "rtd": {"discriminator": ["backbone", "head"], "generator": ["generator", "generator_head"]},
    "tlm": {"model": ["backbone", "head"]},
    "encoder_clm": {"model": ["backbone", "head"]},
    "plm": {"model": ["backbone", "head"]},
    **{name: {"model": ["backbone"]} for name in (*PAIRED, "prefix_lm")},
    "clm": {"model": ["backbone"]},
    "bilm": {"model": ["backbone", "head"]},
}
"""By objective, the models of its learner, and the parts of each by their places in the learner."""


def made(kind: str) -> Any:
    """Return a learner in eval mode, with all parameters away from zeros and ones."""
    program = objectives.build(*KINDS[kind], VOCABULARY)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    learner = program.build(lambda model: backbones.build(model, VOCABULARY.size))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return learner.eval()


def inputs(kind: str) -> Inputs:
    if kind == "bilm":  # the rows of a table of words
        spellings = torch.arange(31)[:, None] * 7 % 256 + torch.arange(50) % 5
        return Inputs(ids=IDS, spellings=spellings, spelling_rows=IDS)
    return Inputs(ids=IDS, decoder=Inputs(ids=IDS.flip(0), layout=Layout(causal=True)) if kind in PAIRED else None)


def test_every_objective_is_here() -> None:
    kinds = {settings.type for settings, _ in KINDS.values()}
    assert kinds | {"mixture"} == set(objective_classes())


@pytest.mark.parametrize("kind", KINDS)
def test_models_are_backbones_with_their_heads(kind: str) -> None:
    learner = made(kind)
    models = learner.models()
    assert list(models) == list(HEADS[kind])
    for name, places in HEADS[kind].items():
        modules = models[name]
        assert isinstance(modules[0], backbones.Backbone)
        assert sum(isinstance(module, backbones.Backbone) for module in modules) == 1
        for module, place in zip(modules, places, strict=True):
            if place == "generator":  # by itself it has embeddings of its own, with the weights of the shared ones
                assert module.embedding_weight is not learner.backbone.embedding_weight
                assert torch.equal(module.embedding_weight, learner.backbone.embedding_weight)
                torch.testing.assert_close(module.encode(inputs(kind)), learner.generator.encode(inputs(kind)))
            else:
                assert module is learner.get_submodule(place)
    assert {place for places in HEADS[kind].values() for place in places} == {name for name, _ in learner.named_children()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_for_the_vocabulary_and_the_pooler(kind: str) -> None:
    learner = made(kind)
    assert learner.token_head is (None if kind in ("rtd", "states", *DECODERS, *PAIRED) else learner.head)
    if kind not in ("nsp", "sop"):
        assert learner.pooler_layer is None
        return
    assert learner.pooler_layer is learner.pooler.dense
    hidden = learner.backbone.encode(inputs(kind))
    summary = torch.tanh(functional.linear(hidden[:, 0], learner.pooler_layer.weight, learner.pooler_layer.bias))
    torch.testing.assert_close(learner.verdicts(hidden[:, 0]), learner.pair_head.scores(summary))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "states"])
def test_token_scores_are_the_heads_logits_at_every_position(kind: str) -> None:
    learner = made(kind)
    scores = learner.token_scores(inputs(kind))
    assert scores.shape == (2, 5, 64)
    backbone = learner.generator if kind == "rtd" else learner.backbone
    hidden = backbone.hidden(inputs(kind)) if kind in PAIRED else backbone.encode(inputs(kind))
    if kind == "bilm":
        expected = hidden[..., :16] @ learner.head.weight.T + learner.head.bias  # of the direction that goes on
    elif kind in (*DECODERS, *PAIRED):
        output = backbone.output if kind == "masked_text" else backbone.token
        expected = hidden @ output.weight.T
    else:
        head = learner.generator_head if kind == "rtd" else learner.head
        expected = head(hidden, backbone.embedding_weight)
    torch.testing.assert_close(scores, expected)


def test_a_learner_without_a_language_model_has_no_scores() -> None:
    class Judge(Learner):
        def __init__(self, backbone: backbones.Backbone) -> None:
            super().__init__(backbone)
            self.verdict = nn.Linear(backbone.width, 2)

    judge = Judge(backbones.build(ENCODER, VOCABULARY.size))
    assert (judge.token_head, judge.pooler_layer) == (None, None)
    assert judge.models() == {"model": [judge.backbone, judge.verdict]}
    with pytest.raises(SettingsError, match="no language-model head") as told:
        judge.token_scores(Inputs(ids=IDS))
    assert "Judge" in told.value.where
