"""A model of one family with another family's tokenizer: transformers makes of the export what the training made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from support.finished_run import TEXTS, finished_run, randomised
from support.strangers import CLASSES, stranger, tokenizer

import plmtrain
from plmtrain import cli
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.rows.rows import side_by_side
from plmtrain.interop.hugging_face import family_of
from plmtrain.interop.row_templates import framed_for, frames_alike
from plmtrain.runs.material import Material
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train
from plmtrain.training.restore import load_run

SHORT = [" ".join(text.split()[:words]) for text, words in zip(TEXTS, (2, 6, 9, 3), strict=True)]
WORDPIECE = ["tokenizer.type=wordpiece", "tokenizer.family=bert"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def exported(tmp_path: Path, *system: str) -> tuple[Path, Path]:
    finished_run(tmp_path / "run", system)
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    return tmp_path / "run", tmp_path / "out"


@pytest.mark.parametrize("task", ["objective=mlm", "task=classification task.labels=[a,b] task.text=[x,y]"])
@pytest.mark.parametrize("model", ["roberta", "bart"])
def test_rows_and_scores_are_those_of_the_training(tmp_path: Path, model: str, task: str) -> None:
    """RoBERTa and BART read ``<s> A </s> </s> B </s>``; a BERT tokenizer alone would give ``[CLS] A [SEP] B [SEP]``."""
    if (model, task) == ("bart", "objective=mlm"):
        task = "objective=bart"
    run, out = exported(tmp_path, f"model={model}", *task.split(), *WORDPIECE)
    trained = load_run(run)
    theirs = transformers.AutoTokenizer.from_pretrained(out)
    vocabulary = trained.tokenizer.vocabulary
    pairs = list(zip(SHORT, reversed(SHORT), strict=True))
    for texts in (1, 2):
        sides = [
            side_by_side(trained.tokenizer.encode([pair[side] for pair in pairs]), vocabulary.padding) for side in range(texts)
        ]
        rows = sides[0] if texts == 1 else replace(sides[0], others=sides[1])
        ours = formatted(rows, RowFormat.of(model, texts), vocabulary, 1)
        given = theirs([pair[0] for pair in pairs], *([[pair[1] for pair in pairs]] if texts == 2 else []), padding=True)
        assert given["input_ids"] == ours.ids.tolist()
        assert given["attention_mask"] == ours.real.astype(int).tolist()
    if model == "roberta" and task == "objective=mlm":
        batch = theirs(SHORT, padding=True, return_tensors="pt")
        with torch.no_grad():
            expected = plmtrain.load(run).logits(batch["input_ids"], batch["attention_mask"])
            scores = transformers.AutoModelForMaskedLM.from_pretrained(out)(**batch).logits
        real = batch["attention_mask"].bool()
        torch.testing.assert_close(scores[real], expected[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_published_tokenizers_are_left_as_they_are(name: str) -> None:
    """The family's own frame needs no new one, so that files stay what they were."""
    family = CLASSES[name][1]
    own = tokenizer(family)
    model = family_of(family, "").settings(name="tiny", family=family)
    assert frames_alike(own, model)
    assert framed_for(own, model) is own


def test_a_tokenizer_without_a_frame_gets_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stranger(tmp_path / "theirs", "BartForConditionalGeneration")
    bare = Tokenizer.load(tmp_path / "theirs")
    general = {**bare.config, "tokenizer_class": "PreTrainedTokenizerFast"}
    Tokenizer({**bare.definition, "post_processor": None}, general).save(tmp_path / "theirs")
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    assert "the tokenizer did so otherwise, and is adapted" in " ".join(capsys.readouterr().err.split())
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")(SHORT[0])["input_ids"]
    roles = bare.vocabulary.roles
    assert ids == [roles["cls"], *bare.encode([SHORT[0]])[0][0].tolist(), roles["sep"]]


@pytest.mark.parametrize("pad", [0, 1, 3])
def test_positions_begin_where_transformers_looks(tmp_path: Path, pad: int) -> None:
    """RoBERTa's class counts from the padding's id: the table moves with it, in exports of runs and of imported folders."""
    pieces = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces.insert(pad, "[PAD]")
    words = sorted({word.strip(".,;:!?") for text in TEXTS for word in text.lower().split()})
    folder = tmp_path / "theirs"
    folder.mkdir()
    config = transformers.RobertaConfig(
        vocab_size=len(pieces) + len(words),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=42,
        type_vocab_size=1,
        pad_token_id=1,
    )
    model = randomised(transformers.RobertaForMaskedLM(config))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join([*pieces, *words]))
    own = Tokenizer.load(folder)
    assert own.vocabulary["pad"] == pad

    assert cli.main(["import", str(folder), str(tmp_path / "ours")]) == 0
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "ours")
    assert again.config.pad_token_id == pad
    batch = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")(SHORT, padding=True, return_tensors="pt")
    mask = batch["attention_mask"]
    positions = torch.where(mask.bool(), mask.cumsum(1) + 1, 1)  # as counted for the published padding, 1
    with torch.no_grad():
        expected = model.eval()(batch["input_ids"], attention_mask=mask, position_ids=positions).logits
        scores = again.eval()(batch["input_ids"], attention_mask=mask).logits
    torch.testing.assert_close(scores[mask.bool()], expected[mask.bool()])


@pytest.mark.parametrize(("family", "told"), [("roberta", ["padding token has the id 0", "rows are laid out"]), ("bert", [])])
def test_a_mixed_run_is_told_before_it_starts(family: str, told: list[str]) -> None:
    settings = pretrain_settings(compose([f"model={family}", *WORDPIECE]))
    run: Any = SimpleNamespace(settings=settings, tokenizer=tokenizer("bert"), sample=tuple)
    findings = Material.tokenizer_findings(run)
    assert len(findings) == len(told)
    assert all(words in finding.what for words, finding in zip(told, findings, strict=True))
    assert all("export will" in finding.remedy for finding in findings)


def test_the_trained_settings_are_unchanged() -> None:
    """What ``TokenizerSettings`` trains frames as its own family does, so that only mixed runs are adapted."""
    made = train(TEXTS, TokenizerSettings(type="byte_bpe", family="gpt2", vocab_size=400, lowercase=False))
    assert made.framed("one")[0] == made.encode(["one"])[0][0].tolist()
