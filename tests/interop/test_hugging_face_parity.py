"""Our encoder against transformers' own classes: every parameter random, ragged padding, segments, odd positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from plmtrain.batch import Inputs, Layout
from plmtrain.interop import hugging_face
from plmtrain.interop.load import FromFolder
from plmtrain.interop.model import Model
from plmtrain.interop.placing import renamed
from plmtrain.nn.heads import MaskedLMHead, Pooler
from plmtrain.nn.loss import cross_entropy_sum

VOCABULARY, POSITIONS = 97, 24


@dataclass(frozen=True)
class Case:
    """One class of transformers in a tiny shape."""

    make: Callable[[], nn.Module]
    trunk: str
    segments: int = 2
    positioned: bool = True


def _bert_like(config: str, model: str, **changes: Any) -> Callable[[], nn.Module]:
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": POSITIONS,
        "attn_implementation": "eager",
    }
    return lambda: getattr(transformers, model)(getattr(transformers, config)(**(shape | changes)))


def _distilbert() -> nn.Module:
    shape = {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": POSITIONS}
    config = transformers.DistilBertConfig(vocab_size=VOCABULARY, attn_implementation="eager", **shape)
    return transformers.DistilBertForMaskedLM(config)


def _deberta(version: str = "Deberta", **changes: Any) -> Callable[[], nn.Module]:
    usual = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False, "type_vocab_size": 0}
    return _bert_like(f"{version}Config", f"{version}ForMaskedLM", layer_norm_eps=1e-7, **(usual | changes))


THIRD = {"position_buckets": 6, "max_relative_positions": 12, "share_att_key": True, "norm_rel_ebd": "layer_norm"}
"""The third version's attention; rows are longer than all that its table tells apart."""


CASES = {
    "bert": Case(_bert_like("BertConfig", "BertForMaskedLM"), "bert"),
    "bert_tanh": Case(_bert_like("BertConfig", "BertForMaskedLM", hidden_act="gelu_new", layer_norm_eps=1e-5), "bert"),
    "roberta": Case(
        _bert_like(
            "RobertaConfig", "RobertaForMaskedLM", type_vocab_size=1, layer_norm_eps=1e-5, max_position_embeddings=POSITIONS + 2
        ),
        "roberta",
        segments=1,
    ),
    **{
        name: Case(
            _bert_like(f"{kind}Config", f"{kind}ForMaskedLM", type_vocab_size=1, max_position_embeddings=POSITIONS + 2),
            "roberta",
            segments=1,
        )
        for name, kind in (("xlm_roberta", "XLMRoberta"), ("camembert", "Camembert"))
    },
    "albert": Case(_bert_like("AlbertConfig", "AlbertForMaskedLM", embedding_size=16), "albert"),
    "albert_equal_widths": Case(_bert_like("AlbertConfig", "AlbertForMaskedLM", embedding_size=32), "albert"),
    "electra": Case(_bert_like("ElectraConfig", "ElectraForMaskedLM", embedding_size=16), "electra"),
    "electra_equal_widths": Case(_bert_like("ElectraConfig", "ElectraForMaskedLM", embedding_size=32), "electra"),
    **{
        name: Case(_deberta(**changes), "deberta", segments=0, positioned=False)
        for name, changes in {
            "deberta": {},
            # Distances beyond the table, and one term alone.
            "deberta_c2p": {"pos_att_type": ["c2p"], "max_relative_positions": 5},
            "deberta_p2c": {"pos_att_type": "p2c", "max_relative_positions": 9},
            "deberta_content": {"pos_att_type": [], "relative_attention": False},
            "deberta_narrow": {"embedding_size": 20},
            "deberta_v2": {"version": "DebertaV2", **THIRD, "conv_kernel_size": 3, "conv_act": "gelu"},
            "deberta_v2_tanh": {"version": "DebertaV2", **THIRD, "conv_kernel_size": 5, "position_buckets": 5},
            "deberta_v3": {"version": "DebertaV2", **THIRD},
            # Weights of their own for distances, which the class also has; fewer distances in a row than the table has.
            "deberta_v2_apart": {"version": "DebertaV2", "pos_att_type": "p2c", "position_buckets": 8, "embedding_size": 20},
            "deberta_v2_plain": {"version": "DebertaV2", "max_relative_positions": 9},
        }.items()
    },
    "distilbert": Case(_distilbert, "distilbert", segments=0, positioned=False),
}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with every parameter drawn: fresh biases are 0 and norms the identity, which hides swapped tensors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            std = 0.05 + 0.25 * (index % 6) / 5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    return model.eval()


def example(case: Case, seed: int = 1) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Ids, attention mask, and the other inputs that the class reads."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([17, 9, 1, 13])
    mask = (torch.arange(17)[None] < lengths[:, None]).long()
    pad = 1 if case.trunk == "roberta" else 0
    ids = torch.randint(2, VOCABULARY, mask.shape, generator=generator) * mask + pad * (1 - mask)
    inputs = {}
    if case.segments:
        inputs["token_type_ids"] = torch.randint(0, case.segments, mask.shape, generator=generator)
    if case.positioned:
        inputs["position_ids"] = torch.randint(2, POSITIONS, mask.shape, generator=generator)
    return ids, mask, inputs


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    torch.set_num_threads(1)
    return request.param


@pytest.fixture
def pair(case: Case, tmp_path: Path) -> tuple[nn.Module, FromFolder]:
    """transformers' model, and ours read from the folder that it saved."""
    theirs = randomised(case.make())
    theirs.save_pretrained(tmp_path)
    return theirs, FromFolder(hugging_face.read(tmp_path)).eval()


def test_hidden_states_of_every_layer(case: Case, pair: tuple[nn.Module, FromFolder]) -> None:
    theirs, ours = pair
    ids, mask, inputs = example(case)
    expected = theirs(input_ids=ids, attention_mask=mask, **inputs, output_hidden_states=True).hidden_states
    positions = inputs.get("position_ids")
    if positions is not None:
        positions = positions - ours.settings.position_offset
    layout = Layout(tokens=mask.bool())
    found = ours.backbone.encode_layers(
        Inputs(ids=ids, layout=layout, segments=inputs.get("token_type_ids"), positions=positions)
    )
    assert len(found) == len(expected)
    for layer in range(len(found)):
        difference = (found[layer] - expected[layer])[mask.bool()].abs().max()
        assert difference < 1e-5, f"layer {layer}: {difference:.1e}"


@pytest.mark.parametrize("given", ["everything", "ids_and_mask", "ids"])
def test_logits(case: Case, pair: tuple[nn.Module, FromFolder], given: str) -> None:
    theirs, ours = pair
    ids, mask, inputs = example(case)
    if given != "everything":
        inputs = {}
    if given != "ids":
        inputs["attention_mask"] = mask
    with torch.no_grad():
        expected, found = theirs(input_ids=ids, **inputs).logits, ours(ids, **inputs)
    real = mask.bool() if given != "ids" else torch.ones_like(mask).bool()
    scale = expected.abs().max().clamp(min=1)
    assert found.shape == expected.shape
    assert (found - expected)[real].abs().max() / scale < 1e-5


def test_loss_and_gradients(case: Case, pair: tuple[nn.Module, FromFolder]) -> None:
    theirs, ours = pair
    ids, mask, inputs = example(case)
    labels = torch.where((torch.arange(17) % 3 == 0) & mask.bool(), ids.flip(0).clamp(min=2), -100)
    expected = theirs(input_ids=ids, attention_mask=mask, labels=labels, **inputs).loss
    expected.backward()

    chosen = labels.flatten() != -100
    logits = ours(ids, attention_mask=mask, **inputs).flatten(0, 1)[chosen]
    found = cross_entropy_sum(logits, labels.flatten()[chosen]) / chosen.sum()
    found.backward()

    assert abs(found - expected) < 1e-5 * expected
    gradients = _their_names(ours, gradients=True)
    repeats = hugging_face.family_of(ours.settings.family, "").repeats
    for name, parameter in theirs.named_parameters():
        if parameter.grad is None:
            continue
        scale = parameter.grad.abs().max().clamp(min=1)
        name = repeats.get(name, name)  # which of two tied parameters is listed differs
        assert (gradients.pop(name) - parameter.grad).abs().max() / scale < 1e-5, name
    assert not gradients


def test_a_saved_folder_is_the_same_to_transformers(case: Case, pair: tuple[nn.Module, FromFolder], tmp_path: Path) -> None:
    theirs, ours = pair
    hugging_face.save(tmp_path / "ours", Model.of([ours.backbone, *ours.heads]), {"pad": theirs.config.pad_token_id})
    again, report = type(theirs).from_pretrained(tmp_path / "ours", attn_implementation="eager", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], parameter), name
    ids, mask, inputs = example(case)
    with torch.no_grad():
        assert torch.equal(
            again(input_ids=ids, attention_mask=mask, **inputs).logits,
            theirs(input_ids=ids, attention_mask=mask, **inputs).logits,
        )


def test_the_pooler_of_a_bare_model(tmp_path: Path) -> None:
    for config, model, changes in (
        ("BertConfig", "BertModel", {}),
        ("RobertaConfig", "RobertaModel", {"max_position_embeddings": POSITIONS + 2}),
        ("AlbertConfig", "AlbertModel", {"embedding_size": 16}),
    ):
        theirs = randomised(_bert_like(config, model, **changes)())
        theirs.save_pretrained(tmp_path / model)
        read = hugging_face.read(tmp_path / model)
        assert read.heads.keys() == {Pooler}
        ids = torch.randint(2, VOCABULARY, (3, 9))
        with torch.no_grad():
            expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).pooler_output
            found = read.heads[Pooler](read.backbone.encode(Inputs(ids=ids)))
        assert torch.allclose(found, expected, atol=1e-5)


def _their_names(ours: FromFolder, gradients: bool) -> dict[str, Tensor]:
    """Our gradients by the names that transformers gives their parameters."""
    family = hugging_face.family_of(ours.settings.family, "")
    named = {}
    (head,) = ours.heads
    for module, names in (
        (ours.backbone, renamed(family.backbone(ours.settings), family.prefix.__add__)),
        (head, family.heads[MaskedLMHead].names),
    ):
        own = dict(module.named_parameters())
        for name, source in names.items():
            gradient = own[name].grad
            if gradient is not None:
                named |= dict(zip(source.names, source.split(gradient), strict=True))
    return named
