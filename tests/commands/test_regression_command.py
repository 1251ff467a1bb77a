"""Regression as a user meets it: checked, inspected, trained, killed, evaluated and asked; and scores taken for labels."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest
from scipy import stats
from support.command_line import json_of, plmtrain, predictions, records

RUN = (
    "model=bert model.layers=1 model.width=32 model.heads=2 model.feed_forward=64 model.positions=32 tokenizer.vocab_size=120 "
    "trainer.sequence_length=24 trainer.batch_size=16 trainer.log_every=1 trainer.threads=1 trainer.precision=fp32 "
    "schedule.warmup=0 trainer.evaluate_every=5 optimizer.lr=0.003 trainer.steps=20"
).split()
DATA = (
    "data.files=[train.tsv] data.validation_files=[dev.tsv] task.text=[sentence1,sentence2] task.label=score task.minimum=0"
).split()
TASK = ["task=regression", *DATA]
WORDS = "red green blue black white cat dog bird fish horse".split()


def write(path: Path, rows: list[tuple[str, str, float]]) -> None:
    """A table as KorSTS has it: columns that the task does not read, and no quotes."""
    lines = [f'genre\t{number}\t{score:.3f}\t"{first}\t{second}' for number, (first, second, score) in enumerate(rows)]
    path.write_text("\n".join(["genre\tid\tscore\tsentence1\tsentence2", *lines]) + "\n")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with examples and a fine-tuned run."""
    folder = tmp_path_factory.mktemp("work")
    choose = random.Random(1)
    texts = [(" ".join(choose.choices(WORDS, k=4)), " ".join(choose.choices(WORDS, k=4))) for _ in range(140)]
    rows = [(one, other, 5 * len(set(one.split()) & set(other.split())) / len(set(one.split()))) for one, other in texts]
    write(folder / "train.tsv", rows[:100])
    write(folder / "dev.tsv", rows[100:])
    result = plmtrain("finetune", *TASK, *RUN, "name=tuned", cwd=folder)
    assert result.code == 0, result.err
    (folder / "said.txt").write_text(result.out)
    return folder


def test_the_best_checkpoint_by_the_correlation_is_the_result(work: Path) -> None:
    run = work / "runs" / "tuned"
    validations = {int(one["step"]): one["val/pearson"] for one in records(run) if "val/pearson" in one}
    assert list(validations) == [5, 10, 15, 20]
    status = json.loads((run / "status.json").read_text())
    assert validations[status["result_step"]] == max(validations.values())
    lines = predictions(run)
    assert [list(line) for line in lines] == [["sentence1", "sentence2", "expected", "score"]] * 40
    expected, given = ([line[name] for line in lines] for name in ("expected", "score"))
    assert stats.pearsonr(given, expected).statistic == pytest.approx(max(validations.values()), abs=1e-5)
    said = (work / "said.txt").read_text()
    for words in ("scores: 0 to 5", "held-out examples by score", "the largest errors", "the mean of the training scores"):
        assert words in " ".join(said.split()), words


def test_the_folder_tells_of_the_scores(work: Path) -> None:
    manifest = json.loads((work / "runs" / "tuned" / "data" / "manifest.json").read_text())
    assert manifest["scores"]["train"]["maximum"] == 5.0
    assert manifest["examples"] == {"train": 100, "validation": 40}


def test_killed_it_goes_on_to_the_same_end(work: Path) -> None:
    assert plmtrain("finetune", *TASK, *RUN, "name=killed", cwd=work, fault="eval@10").code == -signal.SIGKILL
    assert plmtrain("finetune", *TASK, *RUN, "name=killed", cwd=work).code == 0
    assert predictions(work / "runs" / "killed") == predictions(work / "runs" / "tuned")


def test_evaluate_gives_the_metrics_of_the_best_checkpoint(work: Path) -> None:
    (found,) = json_of(plmtrain("evaluate", "runs/tuned", "--json", cwd=work))
    best = max((one for one in records(work / "runs" / "tuned") if "val/pearson" in one), key=lambda one: one["val/pearson"])
    for name in ("pearson", "spearman", "mse", "loss"):
        assert found[name] == pytest.approx(best[f"val/{name}"], rel=1e-6), name
    (other,) = json_of(plmtrain("evaluate", "runs/tuned", "--json", "data.files=[train.tsv]", cwd=work))
    assert other["rows"] == 100


def test_an_undefined_correlation_is_said_in_json(work: Path) -> None:
    (work / "one.tsv").write_text("score\tsentence1\tsentence2\n2.5\tred cat\tred dog\n")
    (found,) = json_of(plmtrain("evaluate", "runs/tuned", "--json", "data.files=[one.tsv]", cwd=work))
    assert (found["rows"], found["pearson"], found["spearman"]) == (1, "nan", "nan")
    assert found["mse"] == pytest.approx(found["loss"])


def test_predict_gives_a_number_for_text_and_json(work: Path) -> None:
    expected = predictions(work / "runs" / "tuned")[:3]
    (work / "asked.txt").write_text(
        "\n".join([f"{line['sentence1']}\t{line['sentence2']}" for line in expected[:2]])
        + "\n"
        + json.dumps({"sentence2": expected[2]["sentence2"], "sentence1": expected[2]["sentence1"]})
        + "\n"
    )
    found = json_of(plmtrain("predict", "runs/tuned", "--file", "asked.txt", "--json", cwd=work))
    assert [one["score"] for one in found] == pytest.approx([line["score"] for line in expected], abs=1e-4)
    plain = plmtrain("predict", "runs/tuned", f"{expected[0]['sentence1']}\t{expected[0]['sentence2']}", cwd=work)
    assert float(plain.out.split("\t")[0]) == pytest.approx(expected[0]["score"], abs=1e-3)


def test_check_and_inspect(work: Path) -> None:
    (found,) = json_of(plmtrain("check", *TASK, *RUN, "--json", cwd=work))
    assert (found["errors"], found["train_examples"]) == ([], 100)
    result = plmtrain("inspect", *TASK, *RUN, cwd=work)
    assert result.code == 0, result.err
    for words in ("scores: 0 to 5, mean", "[CLS]", "[SEP]", "scores, rounded", "tokens in a row", "measured over 100 rows"):
        assert words in result.out, words
    labelled = ["task=classification", *DATA[:-1], *RUN]
    (work / "labels.tsv").write_text("sentence1\tsentence2\tscore\n" + "red\tcat\tyes\nblue\tdog\tno\nred\tdog\tyes\n")
    shown = plmtrain("inspect", *labelled, "data.files=[labels.tsv]", "data.validation_files=[labels.tsv]", cwd=work)
    assert shown.code == 0, shown.err
    assert "labels: no (1), yes (2)" in shown.out
    assert "1 label occurs once in the training examples: 'no'" in shown.out
    assert "label yes" in shown.out
    (rare,) = json_of(
        plmtrain("check", *labelled, "data.files=[labels.tsv]", "data.validation_files=[labels.tsv]", "--json", cwd=work)
    )
    assert [one["what"] for one in rare["warnings"] if "label" in one["what"]] == [
        "1 label occurs once in the training examples: 'no'"
    ]


def test_scores_that_are_taken_for_labels_are_recognised_before_anything_starts(work: Path) -> None:
    lines = [f"{number / 7:.3f}\ta {number}\tb" for number in range(30)]
    (work / "sts.tsv").write_text("\n".join(["score\tsentence1\tsentence2", *lines]) + "\n")
    words = ["task=classification", *DATA[:-1], *RUN, "data.files=[sts.tsv]", "data.validation_files=[sts.tsv]"]
    for verb in ("check", "finetune"):
        result = plmtrain(verb, *words, cwd=work)
        assert result.code == 3
        told = " ".join((result.out + result.err).split())
        assert "these look like scores" in told
        assert "task=regression" in told


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (["task.label=genre"], 3, "should be a number, but is 'genre'"),
        (["task.maximum=4"], 3, "is above task.maximum=4"),
        (["task.maximum=-1"], 2, "must be below maximum"),
        (["task.metrics=[accuracy]"], 2, "task.metrics"),
        (["task.labels=[a,b]"], 2, "there is no setting 'task.labels'"),
    ],
)
def test_what_cannot_be_is_refused_in_three_lines(work: Path, overrides: list[str], code: int, words: str) -> None:
    result = plmtrain("finetune", *TASK, *RUN, "name=refused", *overrides, cwd=work)
    assert result.code == code, result.err
    assert words in " ".join(result.err.split())
    assert "Traceback" not in result.err
