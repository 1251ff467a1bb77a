"""Questions as a user meets them: trained on SQuAD's JSON, killed, evaluated, asked in every form, exported, and refused."""

from __future__ import annotations

import csv
import importlib
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from support.command_line import json_of, plmtrain, predictions, records

WARM = [importlib.import_module(name) for name in ("torch.distributed.tensor", "plmtrain.runs.assembly")]
"""Imported here, so that the children need not."""

RUN = (
    "model=bert model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 tokenizer.vocab_size=300 "
    "trainer.sequence_length=24 trainer.batch_size=16 trainer.log_every=1 trainer.threads=1 trainer.precision=fp32 "
    "trainer.steps=6 trainer.evaluate_every=3 schedule.warmup=0 optimizer.lr=0.01"
).split()
TASK = "task=squad_v2 data.files=[train.json] data.validation_files=[dev.jsonl] task.n_best=4".split()
NAMES = "Anna Bert Clara David Emma Frank".split()
PLACES = "Rome Oslo Paris Seoul Lima Cairo".split()


def question(choose: random.Random, number: int) -> dict[str, Any]:
    """Who lives where, in a text that is longer than a row; a fourth of the questions are about others."""
    people = choose.sample(NAMES, 5)
    context = ".\n".join(f"{name} lives in {choose.choice(PLACES)}" for name in people)
    if number % 4 == 0:
        return {"id": str(number), "question": "Where is Zoe?", "context": context, "answers": {"text": [], "answer_start": []}}
    name = choose.choice(people)
    start = context.index(f"{name} lives in ") + len(f"{name} lives in ")
    text = context[start:].partition(".")[0]
    answers = {"text": [text], "answer_start": [start]}
    return {"id": str(number), "question": f"Where is {name}?", "context": context, "answers": answers}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with questions, and a fine-tuned run."""
    folder, choose = tmp_path_factory.mktemp("work"), random.Random(1)
    rows = [question(choose, number) for number in range(56)]
    paragraphs = [
        {
            "context": row["context"],
            "qas": [
                {key: row[key] for key in ("id", "question")}
                | {
                    "answers": [
                        {"text": text, "answer_start": start} for text, start in zip(*row["answers"].values(), strict=True)
                    ],
                    "is_impossible": not row["answers"]["text"],
                }
            ],
        }
        for row in rows[:40]
    ]
    (folder / "train.json").write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[40:]))
    result = plmtrain("finetune", *TASK, *RUN, "name=tuned", cwd=folder)
    assert result.code == 0, result.err
    (folder / "said.txt").write_text(result.out)
    return folder


def test_a_run_keeps_its_threshold_and_is_scored_with_it(work: Path) -> None:
    run, said = work / "runs" / "tuned", " ".join((work / "said.txt").read_text().split())
    validations = {int(one["step"]): one for one in records(run) if "val/f1" in one}
    status = json.loads((run / "status.json").read_text())
    best = validations[status["result_step"]]
    assert best["val/f1"] == max(one["val/f1"] for one in validations.values())
    tuned = json.loads((run / "tuned.json").read_text())
    assert tuned == {"threshold": pytest.approx(best["val/threshold"], abs=1e-5)}
    for words in ("read in windows", "25.0% of the questions have none", "task.threshold=", "most of the question's words"):
        assert words in said, words
    (found,) = json_of(plmtrain("evaluate", "runs/tuned", "--json", cwd=work))
    for name in ("f1", "exact_match", "f1_has_answer", "exact_match_no_answer", "threshold"):
        assert found[name] == pytest.approx(best[f"val/{name}"], abs=1e-6), name
    lines = predictions(run)
    assert [line["id"] for line in lines] == [str(number) for number in range(40, 56)]
    for line in lines:
        assert line["prediction"] == ("" if line["start"] is None else line["context"][line["start"] : line["end"]])
        assert (line["start"] is None) == (line["no_answer_score"] - line["n_best"][0]["score"] > tuned["threshold"])
    right = [line["prediction"] == (line["expected"] or [""])[0] for line in lines]
    assert sum(right) / len(right) == pytest.approx(found["exact_match"])
    (never,) = json_of(plmtrain("evaluate", "runs/tuned", "--json", "task.threshold=-1000", cwd=work))
    assert (never["f1_has_answer"], never["f1_no_answer"]) == (0, 1)


def test_a_part_that_was_held_out_by_contexts_is_evaluated_alone(work: Path) -> None:
    (work / "few.jsonl").write_text("".join((work / "dev.jsonl").read_text().splitlines(keepends=True)[:12]))
    settings = "task=question_answering task.unanswerable=true data.files=[few.jsonl] data.validation_fraction=0.3".split()
    run = [one for one in RUN if not one.startswith(("model", "tokenizer"))]
    result = plmtrain("finetune", *settings, *run, "name=divided", "trainer.steps=2", "init=runs/tuned", cwd=work)
    assert result.code == 0, result.err
    assert "loaded: the backbone, a head that finds answers" in " ".join((result.out + result.err).split())
    held_out = predictions(work / "runs" / "divided")
    assert 0 < len(held_out) < 12
    (found,) = json_of(plmtrain("evaluate", "runs/divided", "--json", cwd=work))
    right = [line["prediction"] == (line["expected"] or [""])[0] for line in held_out]
    assert found["exact_match"] == pytest.approx(sum(right) / len(right))


def test_killed_it_goes_on_to_the_same_end(work: Path) -> None:
    assert plmtrain("finetune", *TASK, *RUN, "name=killed", cwd=work, fault="eval@3").code == -signal.SIGKILL
    assert plmtrain("finetune", *TASK, *RUN, "name=killed", cwd=work).code == 0
    assert predictions(work / "runs" / "killed") == predictions(work / "runs" / "tuned")


def test_predict_answers_as_in_validation_in_every_form(work: Path) -> None:
    expected = predictions(work / "runs" / "tuned")
    asked = json.dumps({key: expected[1][key] for key in ("question", "context")})
    (one,) = json_of(plmtrain("predict", "runs/tuned", "--json", asked, cwd=work))
    assert one.keys() == {"question", "context", "answer", "start", "end", "score", "probability", "no_answer_score"}
    assert (one["answer"], one["start"], one["end"]) == tuple(expected[1][key] for key in ("prediction", "start", "end"))
    assert one["score"] == pytest.approx(expected[1]["score"], abs=1e-5)
    result = plmtrain("predict", "runs/tuned", "--file", "dev.jsonl", "--output", "answers.csv", "--n-best", "2", cwd=work)
    assert result.code == 0, result.err
    with (work / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["prediction"]) for row in rows] == [(line["id"], line["prediction"]) for line in expected]
    assert [len(json.loads(row["n_best"])) for row in rows] == [2] * len(rows)
    flat = plmtrain("predict", "runs/tuned", "Where is Anna?\tAnna is here.", "--n-best", "3", cwd=work)
    assert flat.code == 0, flat.err
    for line in flat.out.splitlines():
        answer, _, place, asked = line.split("\t")
        begin, end = map(int, place.split("-"))
        assert ("Anna is here."[begin:end], "Where is Anna?") == (answer, asked)
    assert len(flat.out.splitlines()) == 3
    for count, told in (("9", "9 answers are asked for, and 4 are compared"), ("no", "whole number")):
        refused = plmtrain("predict", "runs/tuned", "--n-best", count, "a\tb", cwd=work)
        assert refused.code == 2
        assert told in refused.err
    piped = json_of(plmtrain("predict", "runs/tuned", "--json", "--format", "squad", cwd=work, given=work / "train.json"))
    assert len(piped) == 40


def test_an_exported_model_keeps_the_threshold(work: Path) -> None:
    assert plmtrain("export", "runs/tuned", "exported", cwd=work).code == 0
    assert plmtrain("import", "exported", "imported", cwd=work).code == 0
    tuned = json.loads((work / "runs" / "tuned" / "tuned.json").read_text())
    stated = json.loads((work / "imported" / "plmtrain.json").read_text())["task"]
    assert (stated["type"], stated["threshold"]) == ("question_answering", tuned["threshold"])
    # It reads rows as long as the model takes, 32 tokens: the answers to short texts are the same.
    asked = ["Where is Anna?\tAnna is in Rome.", "Where is Zoe?\tDavid is in Lima."]
    ours, theirs = (json_of(plmtrain("predict", folder, "--json", *asked, cwd=work)) for folder in ("runs/tuned", "imported"))
    assert [line["answer"] for line in theirs] == [line["answer"] for line in ours]
    assert [line["score"] for line in theirs] == pytest.approx([line["score"] for line in ours], abs=1e-5)


def test_what_cannot_be_is_told_with_its_line(work: Path) -> None:
    good = json.loads((work / "dev.jsonl").read_text().splitlines()[1])
    bad = good | {"answers": {"text": ["Atlantis"], "answer_start": [3]}}
    (work / "bad.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    for overrides, code, told in (
        (
            ["data.validation_files=[bad.jsonl]"],
            3,
            ["the answer 'Atlantis' is not at", "bad.jsonl:2", "nowhere in this"],
        ),
        (["task.unanswerable=false"], 3, ["this question has no answer", "train.json:1, question 0", "task.unanswerable=true"]),
        (["task.label=answer"], 3, ["there is no column 'answer'", "train.json:1, question 0", "answers"]),
    ):
        result = plmtrain("finetune", *TASK, *RUN, "name=refused", *overrides, cwd=work)
        assert result.code == code, result.err
        for words in told:
            assert words in result.err, words
        assert "Traceback" not in result.err
    (work / "runs" / "killed" / "tuned.json").write_text('{"threshold": "much"}')
    result = plmtrain("evaluate", "runs/killed", cwd=work)
    assert (result.code, "the settings that the run tuned cannot be read" in result.err) == (4, True)
