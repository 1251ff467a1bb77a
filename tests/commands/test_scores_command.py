"""``plmtrain evaluate RUN scoring=...`` as a user meets it, for each kind of language model, with files as they come."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support.finished_run import TEXTS, finished_run

import plmtrain
from plmtrain.cli import main

SYSTEMS = {
    "gpt2": (["model=gpt2", "objective=clm"], "log-likelihood"),
    "bert": (["model=bert", "objective=dynamic_mlm"], "pseudo-log-likelihood"),
    "electra": (["model=electra", "objective=rtd"], "pseudo-log-likelihood of the generator"),
    "xlnet": (["model=xlnet", "objective=plm", "tokenizer.type=byte_bpe"], "log-likelihood"),
    "bart": (["model=bart", "objective=bart"], "log-likelihood of the decoder"),
    "t5": (["model=t5_small", "objective=span_corruption"], "log-likelihood of the decoder"),
}
PAIRS = [("She said that.", "She that said."), ("He said nothing.", "He nothing said."), ("The fog lay low.", "Lay the fog low.")]
QUESTIONS: list[dict[str, Any]] = [
    {"q": "The fog lay over the", "options": ["town", "river of geese"], "gold": 0},
    {"q": "She said", "options": ["nothing", "it was the widest river", "goose"], "gold": "goose"},
    {"q": "Reading is", "options": ["walking", "talking"], "gold": 1},
]
COLUMNS = ["scoring.context_column=q", "scoring.choices_column=options", "scoring.answer_column=gold"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each system, and files to score."""
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("scored")
    for name, (system, _) in SYSTEMS.items():
        finished_run(work / name, [*system, "trainer.threads=1"])
    written(work / "pairs.jsonl", [{"sentence_good": good, "sentence_bad": bad, "UID": "x"} for good, bad in PAIRS])
    written(work / "quiz.jsonl", QUESTIONS)
    written(work / "asked.jsonl", [{"context": "Where?", "answer": "town"}, {"context": "Who?", "answer": ["she", "he"]}])
    (work / "text.txt").write_text("\n".join(TEXTS))
    return work


def written(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def scores(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["evaluate", *arguments, "--json"]) == 0, capsys.readouterr().err
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_language_model_is_scored(folder: Path, system: str, capsys: pytest.CaptureFixture[str]) -> None:
    run, measured = str(folder / system), SYSTEMS[system][1]
    pairs = scores(capsys, run, "scoring=minimal_pairs", f"scoring.files=[{folder}/pairs.jsonl]")
    quiz = scores(capsys, run, "scoring=choices", f"scoring.files=[{folder}/quiz.jsonl]", *COLUMNS, "scoring.shots=1")
    text = scores(capsys, run, "scoring=perplexity", f"scoring.files=[{folder}/text.txt]", "scoring.document_per=line")
    assert {pairs["measured"], quiz["measured"], text["measured"]} == {measured}
    assert (pairs["examples"], quiz["examples"], text["examples"]) == (3, 3, 4)
    assert pairs["scores"]["accuracy"]["value"] * 3 == pytest.approx(round(pairs["scores"]["accuracy"]["value"] * 3))
    assert quiz["chance"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 3)
    assert any("perplexity" in name for name in text["scores"]) == ("pseudo" not in measured)
    assert all(one["standard_error"] is not None for report in (pairs, quiz, text) for one in report["scores"].values())
    asked = ["evaluate", run, "scoring=completions", f"scoring.files=[{folder}/asked.jsonl]", "scoring.max_new_tokens=4"]
    assert main(asked) == (0 if system in ("gpt2", "bart", "t5") else 2)
    told = capsys.readouterr()
    assert ("exact match" in told.out) != ("the model does not write text" in told.err)


def test_the_accuracy_of_pairs_follows_from_the_logits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each sentence after the end of a document, its tokens' log-probabilities added up."""
    loaded = plmtrain.load(folder / "gpt2")
    end = loaded.tokenizer.vocabulary.document_end

    def likelihood(text: str) -> float:
        ((ids, _),) = loaded.tokenizer.encode([text])
        row = torch.tensor([[end, *ids.tolist()]])
        log_probabilities = loaded.logits(row)[0, :-1].log_softmax(-1)
        return float(log_probabilities.gather(1, row[0, 1:, None]).sum())

    right = [float(likelihood(good) > likelihood(bad)) for good, bad in PAIRS]
    mean = sum(right) / 3
    report = scores(capsys, str(folder / "gpt2"), "scoring=minimal_pairs", f"scoring.files=[{folder}/pairs.jsonl]")
    accuracy = report["scores"]["accuracy"]
    assert accuracy["value"] == pytest.approx(mean)
    assert accuracy["standard_error"] == pytest.approx(math.sqrt(sum((one - mean) ** 2 for one in right) / 2 / 3))


def test_a_hugging_face_folder_has_the_scores_of_its_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(folder / "gpt2"), str(tmp_path / "hf")]) == 0
    capsys.readouterr()
    asked = ["scoring=perplexity", f"scoring.files=[{folder}/text.txt]", "scoring.window=16", "scoring.stride=8"]
    own, exported = (scores(capsys, str(place), *asked)["scores"] for place in (folder / "gpt2", tmp_path / "hf"))
    assert {name: one["value"] for name, one in exported.items()} == pytest.approx(
        {name: one["value"] for name, one in own.items()}
    )
    assert main(["evaluate", str(tmp_path / "hf"), *asked, "trainer.threads=1"]) == 2
    assert "a Hugging Face folder has no settings to change" in capsys.readouterr().err


def test_what_a_person_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut prompts are told, numbers of any size fit their columns, and one is one."""
    written(folder / "long.jsonl", [{**QUESTIONS[0], "q": "the low fog " * 60}])
    assert main(["evaluate", str(folder / "gpt2"), "scoring=choices", f"scoring.files=[{folder}/long.jsonl]", *COLUMNS]) == 0
    out = capsys.readouterr().out
    assert "1 example," in out
    assert "1 of 1 questions were cut at their beginning: they do not fit in 40 tokens" in out
    assert main(["evaluate", str(folder / "gpt2"), "scoring=perplexity", f"scoring.files=[{folder}/text.txt]"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert "perplexity per word" in out


@pytest.mark.parametrize(
    ("content", "scoring", "told"),
    [
        ("", "choices", ["there is no row in this file"]),
        ("", "perplexity", ["there is no text in this file", "remove it from scoring.files"]),
        ('{"context": "a", "choices": [], "answer": 0}', "choices", ["a list of texts, but is []", "odd.jsonl:1"]),
        ('{"context": "a", "choices": ["", "b"], "answer": 0}', "choices", ["an empty choice", "odd.jsonl:1"]),
        ('{"context": "a", "answer": 7}', "completions", ["a list of texts, but is 7"]),
        ('{"sentence_good": "a"}', "minimal_pairs", ["no column 'sentence_bad'", "scoring.bad_column"]),
        ('{"body": "a"}', "perplexity", ["no column 'text'", "scoring.text_column: use one of: body"]),
    ],
)
def test_a_file_that_cannot_be_scored_is_told(
    folder: Path, tmp_path: Path, content: str, scoring: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.jsonl").write_text(content and content + "\n")
    assert main(["evaluate", str(folder / "gpt2"), f"scoring={scoring}", f"scoring.files=[{tmp_path}/odd.jsonl]"]) == 3
    error = capsys.readouterr().err
    assert all(words in error for words in told), error
    assert "data." not in error
