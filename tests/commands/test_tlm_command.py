"""Translation language modelling as a user meets it: from a table of pairs to a filled mask, and to a folder for transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import plmtrain
from plmtrain import cli
from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings

MODEL = (
    "model=xlm model.layers=1 model.width=16 model.heads=2 model.feed_forward=64 model.positions=40 objective=tlm data=parallel "
    "data.languages=[en,de] data.validation_fraction=0.1 tokenizer.vocab_size=400 trainer.sequence_length=24 "
    "trainer.batch_size=8 trainer.steps=4 trainer.save_every=4 trainer.evaluate_every=4 trainer.threads=1 data.processes=1 "
    "name=xlm"
).split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The place of a run on four hundred pairs, and of some German besides."""
    place = tmp_path_factory.mktemp("xlm")
    numbers = ["one", "two", "three", "four", "five"], ["eins", "zwei", "drei", "vier", "fünf"]
    lines = [f"{numbers[0][n % 5]} is number {n}\t{numbers[1][n % 5]} ist Zahl {n}" for n in range(400)]
    (place / "pairs.tsv").write_text("en\tde\n" + "\n".join(lines) + "\n")
    (place / "more.txt").write_text("Noch mehr Text ohne Übersetzung, der allein steht.\n" * 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert cli.main(["pretrain", *MODEL, "data.files=[pairs.tsv]", "data.monolingual={de:[more.txt]}"]) == 0
    return place


def test_what_a_validation_tells(trained: Path) -> None:
    lines = (trained / "runs/xlm/metrics.jsonl").read_text().splitlines()
    (validation,) = (json.loads(line) for line in lines if "val/loss" in line)
    assert {"val/hidden_unigram_loss", "val/mlm/loss_translated_en", "val/mlm/loss_translated_de"} <= validation.keys()


def test_masks_are_filled_in_the_language_asked_for(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    capsys.readouterr()
    assert cli.main(["predict", "runs/xlm", "--json", "de: drei ist <special1> 8\ten: three is number 8"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert cli.main(["predict", "runs/xlm", "--json", "de: drei ist <special1> 8"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert both["filled"].count("\t") == 1
    assert both["filled"].endswith("three is number 8")
    assert len(both["masks"]) == len(alone["masks"]) == 1
    assert both["masks"] != alone["masks"]
    assert cli.main(["predict", "runs/xlm", "--json", "en: drei ist <special1> 8"]) == 0
    assert json.loads(capsys.readouterr().out)["masks"] != alone["masks"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("drei ist <special1> 8", "no language prefix"),
        ("fr: un <special1>", "no language prefix"),
        ("de: drei ist Zahl 8", "no mask to fill"),
        ("de: a <special1>\ten: b\ten: c", "more than one tab"),
        ("de: <special1> " + "drei " * 60, "but the model takes 38"),
    ],
)
def test_questions_that_cannot_be(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, what: str
) -> None:
    monkeypatch.chdir(trained)
    capsys.readouterr()
    assert cli.main(["predict", "runs/xlm", text]) == 3
    assert what in capsys.readouterr().err


def test_the_export_is_transformers_own(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    monkeypatch.chdir(trained)
    assert cli.main(["export", "runs/xlm", "hf"]) == 0
    theirs = transformers.XLMWithLMHeadModel.from_pretrained("hf").eval()
    tokens = transformers.AutoTokenizer.from_pretrained("hf")
    assert theirs.config.lang2id == {"en": 0, "de": 1}
    ids = tokens("drei ist Zahl 8", "three is number 8", return_tensors="pt")["input_ids"]
    second = int((ids[0] == 1).nonzero()[2])
    places = torch.arange(ids.shape[1])
    langs = (places < second).long()[None]
    positions = torch.where(places < second, places, places - second)[None]
    with torch.no_grad():
        expected = theirs(ids, langs=langs, position_ids=positions).logits
    for folder in ("hf", "runs/xlm"):
        found = plmtrain.load(folder).logits(ids, langs=langs, position_ids=positions)
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (["data=sample"], "reads parallel text"),
        (["model.languages=[de,en]"], "the model's languages are de, en, those of the data en, de"),
        (["data.languages=[en]"], "must name two languages"),
        (["data.monolingual={fr:[x]}"], "monolingual has text in fr, which languages does not name"),
        (["objective=mlm"], "does not say which language a token is of"),
        (["model=bert"], None),
    ],
)
def test_settings_that_do_not_fit(changes: list[str], what: str | None) -> None:
    base = ["model=xlm", "objective=tlm", "data=parallel", "data.files=[pairs.tsv]", "data.languages=[en,de]"]
    replaced = {change.partition("=")[0] for change in changes}
    chosen = [word for word in base if word.partition("=")[0] not in replaced]
    if "data" in replaced:
        chosen = [word for word in chosen if not word.startswith("data.")]
    if what is None:  # an encoder without languages trains on both sides, too
        assert pretrain_settings(compose([*chosen, *changes])).objective.name == "tlm"
        return
    with pytest.raises(SettingsErrors, match=what):
        pretrain_settings(compose([*chosen, *changes]))
