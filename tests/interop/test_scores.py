"""Regressions to and from transformers' classes for sequences, whose head has one output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.finished_run import TEXTS, finished_run
from support.strangers import CLASSES, stranger

from plmtrain import cli

SHORT = [" ".join(text.split()[:words]) for text, words in zip(TEXTS, (2, 6, 9, 3), strict=True)]
CLASSIFIERS = [name for name in CLASSES if name.endswith("ForSequenceClassification")]
FAMILIES = {
    "Bert": "bert",
    "Roberta": "roberta",
    "Albert": "albert",
    "Electra": "electra",
    "DistilBert": "distilbert",
    "Deberta": "deberta",
    "DebertaV2": "deberta_v3_small",
}
FAMILIES |= {
    "XLM": "xlm model.feed_forward=96",
    "XLNet": "xlnet",
    "Bart": "bart",
    "OpenAIGPT": "gpt1 model.feed_forward=96",
    "GPT2": "gpt2",
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def given(folder: Path, capsys: pytest.CaptureFixture[str]) -> torch.Tensor:
    """The scores that ``predict`` gives for texts."""
    capsys.readouterr()
    assert cli.main(["predict", str(folder), "--json", *SHORT]) == 0
    return torch.tensor([json.loads(line)["score"] for line in capsys.readouterr().out.splitlines()])


def theirs(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """What transformers makes of a folder: the scores of the texts, and their loss beside 0, 1, 2 and 3."""
    model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not report[problem], problem
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        found = model.eval()(**tokens(SHORT, padding=True, return_tensors="pt"), labels=torch.arange(4.0))
    return found.logits[:, 0], found.loss


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_an_exported_regression_is_transformers_own(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    family = FAMILIES[name.removesuffix("ForSequenceClassification")]
    finished_run(run, f"model={family} task=regression".split())
    assert cli.main(["export", str(run), str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["architectures"] == [name]
    scores, loss = theirs(out)
    near = {"atol": 1e-4 if family == "xlnet" else 1e-5, "rtol": 1e-4}
    for folder in (run, out):
        torch.testing.assert_close(given(folder, capsys), scores, **near)
    torch.testing.assert_close(loss, ((scores - torch.arange(4.0)) ** 2).mean())


@pytest.mark.parametrize("told", [True, False], ids=["told", "by_its_one_output"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_an_imported_regression_scores_as_it_did(
    name: str, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"num_labels": 1, **({"problem_type": "regression"} if told else {})}
    stranger(tmp_path / "theirs", name, **one)
    ours = tmp_path / "ours"
    assert cli.main(["import", str(tmp_path / "theirs"), str(ours), "--texts", "text"]) == 0
    before, after = load_file(tmp_path / "theirs" / "model.safetensors"), load_file(ours / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())
    scores, _ = theirs(ours)
    near = {"atol": 1e-4 if name.startswith("XLNet") else 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(given(ours, capsys), scores, **near)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ((2, "regression"), "one output, as problem_type is regression"),
        ((1, "single_label_classification"), "expected two classes or more"),
    ],
)
def test_heads_that_we_do_not_have_are_refused(
    outputs: tuple[int, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger(tmp_path / "theirs", "BertForSequenceClassification", num_labels=outputs[0])
    config = tmp_path / "theirs" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"problem_type": outputs[1]}))
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "ours").exists()
