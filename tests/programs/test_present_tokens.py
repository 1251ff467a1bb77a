"""Rows of the vocabulary without a token, even the likeliest ones: never proposed, drawn, put in a text, or written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import replaced_tokens
from support.memory_rows import VOCABULARY
from support.strangers import stranger
from torch import Tensor

from plmtrain import cli
from plmtrain.backbones import build
from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.masked_rows import Masker
from plmtrain.keyed_random import Keys
from plmtrain.programs.present_tokens import present_only
from plmtrain.settings.masking import MaskingSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.vocabulary import Vocabulary

PADDED = 40
GAPS = (20, 33)
GAPPED = replace(VOCABULARY, gaps=GAPS)

ASKED = {
    "BertForMaskedLM": "the low [MASK] lay",
    "RobertaForMaskedLM": "the low <mask> lay",
    "XLNetLMHeadModel": "the low <mask> lay",
    "XLMWithLMHeadModel": "language1: the low <special1> lay",
    "BartForConditionalGeneration": "the low <mask> lay",
}


def pad_vocabulary(folder: Path) -> int:
    """Add rows without a token to every tensor that has a row for each token, so large that they win; return the old number."""
    config = json.loads((folder / "config.json").read_text())
    size = config["vocab_size"] if "vocab_size" in config else config["n_words"]
    torch.manual_seed(5)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if len(tensor) == size:
            more = torch.zeros(PADDED, *tensor.shape[1:])
            if name != "final_logits_bias":
                more = 30 * torch.randn(PADDED, *tensor.shape[1:])
            tensors[name] = torch.cat([tensor, more])
        elif name == "final_logits_bias":
            tensors[name] = torch.zeros(1, size + PADDED)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": size + PADDED}))
    return size


@pytest.mark.parametrize("name", ASKED)
def test_predictions_are_tokens(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    stranger(tmp_path / "padded", name)
    pad_vocabulary(tmp_path / "padded")
    tokenizer = Tokenizer.load(tmp_path / "padded")
    known = {piece.strip() for piece in tokenizer.pieces(range(tokenizer.vocabulary.size))}
    for options in ((), ("--beams", "3"), ("--sample",)) if name.startswith("Bart") else ((),):
        capsys.readouterr()
        assert cli.main(["predict", str(tmp_path / "padded"), "--json", *options, ASKED[name]]) == 0
        answer = json.loads(capsys.readouterr().out)
        if name.startswith("Bart"):
            assert isinstance(answer["restored"], str)
            continue
        (candidates,) = answer["masks"]
        assert len(candidates) == 5
        assert {candidate["token"] for candidate in candidates} <= known
        assert sum(candidate["probability"] for candidate in candidates) > 0.01, "of the tokens that there are"


def test_a_generator_draws_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = replace(replaced_tokens.VOCABULARY, gaps=GAPS)
    rtd = replaced_tokens.program(vocabulary=vocabulary)
    learner = rtd.build(lambda model: build(model, vocabulary.size + PADDED))
    with torch.no_grad():
        learner.generator_head.bias[list(GAPS)] = 50.0
        learner.generator_head.bias[vocabulary.size :] = 50.0
    read: list[Tensor] = []
    seen = learner.discriminator_logits
    monkeypatch.setattr(learner, "discriminator_logits", lambda inputs: (read.append(inputs.ids), seen(inputs))[1])
    batch = rtd.collate(replaced_tokens.text(0, 8, 40), replaced_tokens.keys(8))
    rtd.loss(learner, batch, {})
    (ids,) = read
    drawn = ids.flatten()[batch.targets["positions"]]
    assert set(drawn.tolist()) <= set(vocabulary.ids.tolist())


@pytest.mark.parametrize("tokens", ["all", "ordinary"])
def test_random_replacements_are_tokens(tokens: str) -> None:
    ids = np.full((200, 40), 50)
    ids[:, 0], ids[:, -1] = GAPPED["cls"], GAPPED["sep"]
    rows = FramedRows(ids=ids, word_starts=np.ones(ids.shape, bool), lengths=np.full(200, 40))
    settings = MaskingSettings(mask_probability=0.9, mask_share=0, random_share=1, random_tokens=tokens)
    made = Masker(settings, GAPPED)(rows, Keys(1, np.zeros(200, np.int64), np.arange(200)))
    drawn = set(made.ids.flatten()[made.positions].tolist())
    least = set(range(GAPPED.size)) if tokens == "all" else set(GAPPED.ordinary_ids.tolist())
    assert drawn == least - set(GAPS), "every token, and no gap"


def test_gaps_of_a_vocabulary_are_seen(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "mill"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    definition = dict(Tokenizer.load(tmp_path).definition)
    model = {**definition["model"], "vocab": {**{piece: number for number, piece in enumerate(pieces)}, "mill": 9}}
    vocabulary = Tokenizer({**definition, "model": model}, {}).vocabulary
    assert (vocabulary.size, vocabulary.gaps) == (10, (6, 7, 8))
    assert vocabulary.ordinary_ids.tolist() == [5, 9]
    assert vocabulary.absent(12).tolist() == [6, 7, 8, 10, 11]


def test_whole_vocabularies_cost_nothing() -> None:
    logits = torch.randn(3, VOCABULARY.size)
    assert present_only(logits, VOCABULARY) is logits
    some = present_only(logits, GAPPED)
    assert torch.isneginf(some[:, list(GAPS)]).all()
    assert Vocabulary(3, {}, ()).absent(3).tolist() == []
