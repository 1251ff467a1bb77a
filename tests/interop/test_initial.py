"""What a run starts from brings its shape, its weights, its pooler and its tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from plmtrain.errors import SettingsErrors
from plmtrain.interop.initial import token_rows
from plmtrain.programs.program import Program
from plmtrain.programs.sentences import SentenceLearner
from plmtrain.runs.assembly import build_learner
from plmtrain.runs.command_settings import settings_for
from plmtrain.settings.run import FinetuneSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.tasks.classification import Classification
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

torch.set_num_threads(1)
TEXTS = ["the cat sat on the mat .", "a dog ran to the cat ."] * 20
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


def published(folder: Path, family: str, rows: int) -> Path:
    """A folder as it is published, with more rows in its token table than its tokenizer has tokens."""
    kind = {"bert": "wordpiece", "albert": "unigram", "roberta": "byte_bpe"}[family]
    lowercase = family != "roberta"
    settings = TokenizerSettings(type=kind, family=family, vocab_size=rows - 20, lowercase=lowercase)
    train(iter(TEXTS), settings).save(folder)
    torch.manual_seed(1)
    extra = {"embedding_size": 16} if family == "albert" else {}
    config = transformers.AutoConfig.for_model(
        family, vocab_size=rows, pad_token_id=1 if family == "roberta" else 0, **SMALL, **extra
    )
    model = transformers.AutoModel.from_config(config)
    model.save_pretrained(folder)
    return folder


def started(folder: Path, *overrides: str) -> tuple[FinetuneSettings, Program, SentenceLearner]:
    words = [f"init={folder}", "data.files=[a.tsv]", "task.labels=[no,yes]", "trainer.sequence_length=16", *overrides]
    settings = settings_for("finetune", words)
    assert isinstance(settings, FinetuneSettings)
    tokenizer = Tokenizer.load(folder)
    program = Classification(settings.task, settings.model, tokenizer.vocabulary, 16)
    learner = build_learner(settings, program, token_rows(folder, tokenizer.vocabulary.size))
    assert isinstance(learner, SentenceLearner)
    return settings, program, learner


@pytest.mark.parametrize("family", ["bert", "albert", "roberta"])
def test_a_published_folder_is_taken_whole(tmp_path: Path, family: str) -> None:
    rows = 320 if family == "roberta" else 90
    folder = published(tmp_path / "model", family, rows)
    settings, _, learner = started(folder)
    theirs = transformers.AutoModel.from_pretrained(folder)
    assert (settings.model.family, settings.tokenizer.family) == (family, family)
    assert settings.tokenizer.lowercase == (family != "roberta")
    assert torch.equal(learner.backbone.embedding_weight, theirs.embeddings.word_embeddings.weight)
    assert len(learner.backbone.embedding_weight) == rows > Tokenizer.load(folder).vocabulary.size
    pooler = theirs.pooler if family == "albert" else theirs.pooler.dense
    assert torch.equal(learner.head.dense.weight, pooler.weight) == (family != "roberta"), "RoBERTa's head begins anew"


def test_dropout_may_be_chosen_and_shape_may_not(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "bert", 90)
    settings, _, learner = started(folder, "model.dropout=0.3")
    assert settings.model.dropout == learner.head.dropout == 0.3
    with pytest.raises(SettingsErrors) as told:
        started(folder, "model.width=32", "model=bert", "tokenizer.vocab_size=7")
    assert {error.where for error in told.value.errors} == {
        "command line: model.width=32",
        "command line: model=bert",
        "command line: tokenizer.vocab_size=7",
    }


def test_the_same_seed_begins_alike(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "bert", 90)
    first, again, other = (started(folder, f"seed={seed}")[2].head.scores.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
