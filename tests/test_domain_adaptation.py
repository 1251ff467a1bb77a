"""The commands of docs/domain-adaptation.md, from the first to the last, with a published model that a test can afford."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from support.command_line import Result, plmtrain
from support.documents import ROOT, blocks, shrunk, words_of
from support.tiny_text import documents, write_texts

from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

WORDS = ("electrocardiogram", "tachycardia")
FEW = {
    "trainer.threads": 1,
    "trainer.batch_size": 4,
    "trainer.sequence_length": 32,
    "trainer.steps": 3,
    "trainer.precision": "fp32",
}
ON_TEXT = {**FEW, "data.processes": 1, "data.document_per": "blank_line"}
SMALLER = {"check": ON_TEXT, "pretrain": ON_TEXT, "finetune": FEW}


def _materials(folder: Path) -> None:
    """A tiny published model without a language-model head, the text, the words and the tables."""
    write_texts(folder)
    (folder / "notes").mkdir()
    texts = [f"{text} The {WORDS[number % 2]} was seen." for number, text in enumerate(documents(60))]
    (folder / "notes/a.txt").write_text("\n\n".join(texts))
    (folder / "words.txt").write_text("\n".join(WORDS))
    place = folder / "bert-base-uncased"
    train(documents(60), TokenizerSettings(type="wordpiece", family="bert", vocab_size=200, lowercase=True)).save(place)
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=210,
        hidden_size=16,
        num_hidden_layers=7,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    transformers.BertModel(config).save_pretrained(place)


def test_the_page_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    _materials(tmp_path)
    said: dict[str, Result] = {}
    for line in (line for block in blocks(ROOT / "docs/domain-adaptation.md") for line in block.commands):
        result = plmtrain(*shrunk(words_of(line)[1:], SMALLER), cwd=tmp_path)
        assert result.code == 0, f"{line}\n{result.out}\n{result.err}"
        said[line] = result
    extended, checked, adapted, frozen, *_ = said.values()
    assert "2 tokens added" in extended.out
    start = "starting from bert-base-uncased, loaded: the backbone; new and random: a language-model head; 2 new tokens start"
    assert start in checked.out
    assert start in adapted.out + adapted.err
    assert "of them trained" in frozen.out + frozen.err

    # The frozen parts are the published model's, to the last bit; the last layer is not.
    before = transformers.BertModel.from_pretrained(tmp_path / "bert-base-uncased").state_dict()
    assert plmtrain("export", "runs/top", "top-hf", cwd=tmp_path).code == 0
    after = transformers.BertForMaskedLM.from_pretrained(tmp_path / "top-hf").bert.state_dict()
    for name, tensor in after.items():
        kept = name.startswith(("embeddings.", *(f"encoder.layer.{number}." for number in range(6))))
        assert torch.equal(tensor, before[name]) == kept, name

    both = [*words_of(next(line for line in said if " check " in line))[1:], "trainer.freeze=[embeddings]"]
    assert "the rows of the new tokens are frozen, too" in plmtrain(*shrunk(both, SMALLER), cwd=tmp_path).out

    ours, theirs = (Tokenizer.load(tmp_path / "adapted-hf"), transformers.AutoTokenizer.from_pretrained(tmp_path / "adapted-hf"))
    for word in WORDS:
        ((ids, _),) = ours.encode([word])
        assert [len(ids)] == [1]
        assert theirs(word, add_special_tokens=False)["input_ids"] == ids.tolist()
    config = json.loads((tmp_path / "adapted-hf/config.json").read_text())
    assert config["vocab_size"] == max(210, ours.vocabulary.size)
