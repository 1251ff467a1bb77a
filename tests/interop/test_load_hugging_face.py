"""``plmtrain.load`` of a Hugging Face folder: text in, the scores of transformers' class out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

import plmtrain
from plmtrain.errors import DataError, PlmtrainError, SettingsError

SIDES = {"layers": 2, "attention_heads": 2, "ffn_dim": 32}
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on a mat . ##s dog".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with a WordPiece vocabulary."""
    place = tmp_path_factory.mktemp("hugging_face")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, initializer_range=0.3, **shape)
    transformers.BertForMaskedLM(config).save_pretrained(place)
    (place / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (place / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    return place


def test_text_to_scores(folder: Path) -> None:
    loaded = plmtrain.load(folder)
    ids, _ = loaded.tokenizer.encode_with_specials("[CLS] the cat [MASK] on a mat . [SEP]")
    assert list(ids) == [2, 5, 6, 4, 8, 9, 10, 11, 3]
    input_ids = torch.tensor([list(ids), list(ids)])
    mask = torch.ones_like(input_ids)
    mask[1, 6:] = 0
    theirs = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = theirs(input_ids=input_ids, attention_mask=mask, token_type_ids=mask).logits
    found = loaded.logits(input_ids, attention_mask=mask, token_type_ids=mask)
    assert found.shape == (2, 9, len(WORDS))
    assert not found.requires_grad
    assert not loaded.model.training
    assert torch.allclose(found[mask.bool()], expected[mask.bool()], atol=1e-5)


def test_inputs_that_the_model_does_not_take(folder: Path) -> None:
    loaded = plmtrain.load(str(folder))
    ids = torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(SettingsError, match="decoder_input_ids"):
        loaded.logits(ids, decoder_input_ids=ids)
    with pytest.raises(SettingsError, match="positions") as caught:
        loaded.logits(ids, positions=ids)
    assert "position_ids" in str(caught.value)
    for wrong in (ids[0], ids + len(WORDS), ids - 1, torch.zeros(1, 17, dtype=torch.int64)):
        with pytest.raises(DataError):
            loaded.logits(wrong)
    with pytest.raises(DataError, match="token_type_ids"):
        loaded.logits(ids, token_type_ids=ids + 2)


def test_a_folder_without_a_language_model(folder: Path, tmp_path: Path) -> None:
    transformers.BertForMaskedLM.from_pretrained(folder).bert.save_pretrained(tmp_path)
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    loaded = plmtrain.load(tmp_path)
    with pytest.raises(SettingsError, match="no language-model head") as caught:
        loaded.logits(torch.zeros(1, 3, dtype=torch.int64))
    assert "a backbone" in str(caught.value)


SHAPES = {
    "BertModel": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    "AlbertModel": {
        "hidden_size": 16,
        "embedding_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    },
    "GPT2LMHeadModel": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "XLNetLMHeadModel": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
    "BartModel": {
        "d_model": 16,
        **{f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in SIDES.items()},
    },
}
"""Encoders, a decoder, two streams, and an encoder with a decoder, by transformers' classes."""


@pytest.mark.parametrize("name", SHAPES)
def test_states_of_every_layer(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = getattr(transformers, name)
    theirs = made(made.config_class(vocab_size=29, attn_implementation="eager", **SHAPES[name])).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(3, 29, (2, 7))
    with torch.no_grad():
        found = theirs(input_ids=ids, output_hidden_states=True)
    if name == "BartModel":
        expected = [*found.encoder_hidden_states, *found.decoder_hidden_states]
    else:
        expected = list(found.hidden_states)
    states = plmtrain.load(tmp_path).hidden_states(ids)
    assert len(states) == len(expected)
    for ours, other in zip(states, expected, strict=True):
        assert ours.shape == (2, 7, 16)
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(PlmtrainError):
            plmtrain.load(place)


@pytest.mark.parametrize("name", ["OpenAIGPT", "GPT2"])
def test_segments_of_a_decoder_are_tokens(tmp_path: Path, name: str) -> None:
    """As in transformers, whose classes add the token embeddings of ``token_type_ids``."""
    config = getattr(transformers, f"{name}Config")(vocab_size=31, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    theirs = getattr(transformers, f"{name}LMHeadModel")(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.3)
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(0, 31, (2, 9))
    with torch.no_grad():
        expected = theirs(ids, token_type_ids=ids.flip(1)).logits
    loaded = plmtrain.load(tmp_path)
    torch.testing.assert_close(loaded.logits(ids, token_type_ids=ids.flip(1)), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(DataError, match="token_type_ids from 31"):
        loaded.logits(ids, token_type_ids=torch.full_like(ids, 31))
