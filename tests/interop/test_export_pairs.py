"""Runs on pairs become transformers' classes for pretraining, with both heads, and judge pairs as those do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.finished_run import TEXTS, finished_run

import plmtrain
from plmtrain import cli

CASES = {
    "nsp": ("model=bert objective=nsp", "BertForPreTraining", "seq_relationship_logits", "next"),
    "sop": (
        "model=albert objective=sop optimizer=lamb model.embedding_width=16",
        "AlbertForPreTraining",
        "sop_logits",
        "in_order",
    ),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("kind", CASES)
def test_both_heads_are_those_of_the_run(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system, architecture, verdicts, name = CASES[kind]
    run, out = tmp_path / "run", tmp_path / "out"
    finished_run(run, system.split())
    assert cli.main(["export", str(run), str(out)]) == 0
    theirs: Any
    theirs, report = transformers.AutoModelForPreTraining.from_pretrained(
        out, output_loading_info=True, attn_implementation="eager"
    )
    assert type(theirs).__name__ == architecture
    assert not any(report[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))

    words = [text.split() for text in TEXTS]
    pairs = [(" ".join(first[:3]), " ".join(second[:5])) for first, second in zip(words, words[1:] + words[:1], strict=True)]
    tokens = transformers.AutoTokenizer.from_pretrained(out)
    read = tokens([first for first, _ in pairs], [second for _, second in pairs], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = theirs.eval()(**read)
    for folder in (run, out):
        capsys.readouterr()
        assert cli.main(["predict", str(folder), "--json", *("\t".join(pair) for pair in pairs)]) == 0
        found = [json.loads(line)[name] for line in capsys.readouterr().out.splitlines()]
        assert found == pytest.approx(expected[verdicts].softmax(-1)[:, 0].tolist(), abs=1e-5)
        scores = plmtrain.load(folder).logits(**read)
        real = read["attention_mask"].bool()
        assert (scores - expected.prediction_logits)[real].abs().max() < 1e-4
    assert cli.main(["predict", str(run), f"{pairs[0][0]} {tokens.mask_token}\t{pairs[0][1]}"]) == 0
    assert name in capsys.readouterr().out
