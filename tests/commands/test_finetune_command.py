"""Fine-tuning as a user meets it: from a run, a Hugging Face folder or nothing; killed, repeated, evaluated, asked, refused."""

from __future__ import annotations

import csv
import json
import random
import signal
from collections import Counter
from pathlib import Path

import pytest
import yaml
from support.command_line import json_of, plmtrain, predictions, records

SMALL = (
    "trainer.sequence_length=24 trainer.batch_size=16 trainer.log_every=1 trainer.threads=1 trainer.precision=fp32 "
    "schedule.warmup=0"
).split()
SHAPE = (
    "model=bert model.layers=1 model.width=32 model.heads=2 model.feed_forward=64 model.positions=32 tokenizer.vocab_size=120"
).split()
TASK = (
    "task=classification data.files=[train.tsv] data.validation_files=[dev.tsv] task.text=[first,second] task.label=same "
    "trainer.evaluate_every=3 optimizer.lr=0.003"
).split()
EPOCHS = "trainer.epochs=1.5"
WORDS = "red green blue black white cat dog bird fish horse".split()


def write(path: Path, rows: list[tuple[str, str, str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in [("first", "second", "same"), *rows]))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with examples, a pretrained run and a fine-tuned one."""
    folder = tmp_path_factory.mktemp("work")
    choose = random.Random(1)
    pairs = [(choose.choice(WORDS), " ".join(choose.choices(WORDS, k=choose.randint(1, 9)))) for _ in range(140)]
    rows = [(first, second, "yes" if first in second.split() else "no") for first, second in pairs]
    write(folder / "train.tsv", rows[:100])
    write(folder / "dev.tsv", rows[100:])
    (folder / "text.txt").write_text("\n\n".join(second for _, second in pairs))
    text = "data=text data.files=[text.txt] data.document_per=blank_line data.processes=1 trainer.steps=2".split()
    result = plmtrain("pretrain", *SHAPE, *SMALL, *text, "trainer.evaluate_batches=1", "name=base", cwd=folder)
    assert result.code == 0, result.err
    result = plmtrain("finetune", *TASK, *SMALL, EPOCHS, "init=runs/base", "name=tuned", cwd=folder)
    assert result.code == 0, result.err
    assert "starting from runs/base" in result.out
    assert "best validation accuracy" in result.out
    return folder


def test_what_a_run_leaves(work: Path) -> None:
    run = work / "runs" / "tuned"
    validations = {one["step"]: one["val/accuracy"] for one in records(run) if "val/accuracy" in one}
    assert list(validations) == [3, 6, 9, 10]  # 1.5 epochs of 100 examples in batches of 16
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["total_steps"]) == ("finished", 10)
    assert validations[status["best_step"]] == max(validations.values())
    assert status["result_step"] == status["best_step"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["task"]["labels"], config["trainer"]["steps"], config["model"]["width"]) == (["no", "yes"], 10, 32)
    answers = predictions(run)
    assert len(answers) == 40
    right = sum(one["label"] == one["expected"] for one in answers) / 40
    assert right == pytest.approx(max(validations.values()))
    for one in answers:
        assert max(one["probabilities"], key=one["probabilities"].get) == one["label"]
    held_out = run / "held_out"
    with (held_out / "confusion.csv").open() as file:
        matrix = {row.pop("expected"): {label: int(count) for label, count in row.items()} for row in csv.DictReader(file)}
    pairs = Counter((one["expected"], one["label"]) for one in answers)
    assert matrix == {right: {given: pairs[right, given] for given in ("no", "yes")} for right in ("no", "yes")}
    errors = [json.loads(line) for line in (held_out / "errors.jsonl").read_text().splitlines()]
    assert [one["confidence"] for one in errors] == sorted(
        (max(one["probabilities"].values()) for one in answers if one["label"] != one["expected"]), reverse=True
    )
    assert json.loads((held_out / "summary.json").read_text()) == {
        "examples": 40,
        "collapsed": len({given for _, given in pairs}) < 2,
    }


def test_the_same_command_again_finds_it_finished(work: Path) -> None:
    result = plmtrain("finetune", *TASK, *SMALL, EPOCHS, "init=runs/base", "name=tuned", cwd=work)
    assert (result.code, result.out.strip()) == (0, "runs/tuned is finished: all steps are done")


@pytest.mark.parametrize("fault", ["train.forward@5", "save.rename@10"])
def test_killed_it_goes_on_to_the_same_end(work: Path, fault: str) -> None:
    name = f"name=killed-{fault.partition('@')[0]}"
    assert plmtrain("finetune", *TASK, *SMALL, EPOCHS, "init=runs/base", name, cwd=work, fault=fault).code == -signal.SIGKILL
    result = plmtrain("finetune", *TASK, *SMALL, EPOCHS, "init=runs/base", name, cwd=work)
    assert result.code == 0, result.err
    run = work / "runs" / name.removeprefix("name=")
    assert predictions(run) == predictions(work / "runs" / "tuned")
    clock = ("seconds", "tokens_per_second", "machine_share")
    told = [
        [{k: v for k, v in one.items() if k not in clock} for one in records(path)] for path in (run, work / "runs" / "tuned")
    ]
    assert told[0] == told[1]


def test_evaluate_gives_the_metrics_of_the_best_checkpoint(work: Path) -> None:
    (found,) = json_of(plmtrain("evaluate", "runs/tuned", "--json", cwd=work))
    best = max(one["val/accuracy"] for one in records(work / "runs" / "tuned") if "val/accuracy" in one)
    assert (found["accuracy"], found["rows"]) == (best, 40)
    assert "perplexity" not in found
    (other,) = json_of(plmtrain("evaluate", "runs/tuned", "--json", "data.files=[train.tsv]", cwd=work))
    assert other["rows"] == 100


def test_predict_answers_as_in_validation(work: Path) -> None:
    expected = predictions(work / "runs" / "tuned")[:6]
    lines = [f"{one['first']}\t{one['second']}" for one in expected]
    (work / "questions.txt").write_text("\n".join(lines) + "\n")
    found = json_of(plmtrain("predict", "runs/tuned", "--file", "questions.txt", "--json", cwd=work))
    for one, other in zip(found, expected, strict=True):
        assert (one["first"], one["second"], one["label"]) == (other["first"], other["second"], other["label"])
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
    plain = plmtrain("predict", "runs/tuned", lines[0], cwd=work)
    assert plain.out.split("\t")[0] == expected[0]["label"]
    bad = plmtrain("predict", "runs/tuned", "one text", cwd=work)
    assert bad.code == 3
    assert "a pair of texts was expected" in bad.err


def test_predict_reads_the_table_that_training_read_and_gives_one_back(work: Path) -> None:
    """Neither the header nor a right label is classified; what else is in a row stays as it is."""
    expected = predictions(work / "runs" / "tuned")
    found = json_of(plmtrain("predict", "runs/tuned", "--json", "--file", "dev.tsv", cwd=work))
    assert [(one["first"], one["second"], one["label"]) for one in found] == [
        (one["first"], one["second"], one["label"]) for one in expected
    ]
    rows = [line.split("\t") for line in (work / "dev.tsv").read_text().splitlines()]
    lines = [json.dumps({"id": number, **dict(zip(rows[0], row, strict=True))}) for number, row in enumerate(rows[1:])]
    (work / "asked.jsonl").write_text("\ufeff" + "\r\n".join([*lines[:20], '{"first": "red"}', *lines[20:]]))
    result = plmtrain("predict", "runs/tuned", "--file", "asked.jsonl", "--output", "answers.csv", cwd=work)
    assert result.code == 3
    assert "there is no column 'second'; this line's columns: first\nasked.jsonl:21\n" in result.err
    with (work / "answers.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == ["id", *rows[0], "prediction", "probability_no", "probability_yes"]
    assert [[one["id"], one["first"], one["second"], one["same"]] for one in written] == [
        [str(number), *row] for number, row in enumerate(rows[1:])
    ]
    for one, other in zip(written, expected, strict=True):
        assert one["prediction"] == other["label"]
        assert float(one["probability_yes"]) == pytest.approx(other["probabilities"]["yes"], abs=1e-6)
    piped = json_of(plmtrain("predict", "runs/tuned", "--json", "--format", "tsv", cwd=work, given=work / "dev.tsv"))
    assert piped == found


def test_json_lines_of_other_columns_are_not_classified(work: Path) -> None:
    (work / "lines.txt").write_text('{"second": "red cat", "first": "red"}\n{"text": "red\\tcat"}\nred\tcat\n')
    result = plmtrain("predict", "runs/tuned", "--json", cwd=work, given=work / "lines.txt")
    assert result.code == 3
    assert [json.loads(line)["second"] for line in result.out.splitlines()] == ["red cat", "cat"]
    assert result.err.splitlines()[0] == "there is no 'first' in this JSON object; it has: text"
    assert result.err.splitlines()[1].startswith("standard input:2: ")


def test_without_a_start_it_says_so_and_trains_a_tokenizer(work: Path) -> None:
    result = plmtrain("finetune", *TASK, *SMALL, *SHAPE, "trainer.steps=3", cwd=work)
    assert result.code == 0, result.err
    assert "without init=, from random weights" in result.out
    (run,) = (work / "runs").glob("bert-classification-*")
    assert (run / "tokenizer" / "tokenizer.json").exists()
    assert len(list((work / "prepared" / "tokenizers").glob("wordpiece-*"))) == 2  # that of the text, and that of the examples


def test_a_fine_tuned_run_and_an_exported_one_are_starts_too(work: Path) -> None:
    assert plmtrain("export", "runs/base", "exported", cwd=work).code == 0
    for number, start in enumerate(("exported", "runs/tuned")):
        result = plmtrain("finetune", *TASK, *SMALL, f"init={start}", "trainer.steps=1", f"name=from-{number}", cwd=work)
        assert result.code == 0, result.err
        assert f"starting from {start}" in result.out


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (["model=roberta"], 2, "init=runs/base has its own model"),
        (["size=tiny"], 2, "has its own size"),
        (["model.layers=3"], 2, "model.layers is given by init=runs/base"),
        (["trainer.sequence_length=64"], 2, "is more than model=bert takes (32)"),
        (["init=nowhere"], 2, "there is neither a run nor a Hugging Face folder to start from"),
        (["task.label=lable"], 3, "there is no column 'lable'; the header's columns: first, second, same"),
        (["data.files=[gone.tsv]"], 3, "this file does not exist"),
        (["schedule.warmup=10", EPOCHS], 2, "leaves no step of trainer.steps"),
        (["trainer.phases=[{steps: 5}]", "trainer.steps=5"], 2, "phases are for pretraining"),
    ],
)
def test_what_cannot_be_is_refused_in_three_lines(work: Path, overrides: list[str], code: int, words: str) -> None:
    result = plmtrain("finetune", *TASK, *SMALL, "init=runs/base", "name=refused", *overrides, cwd=work)
    assert result.code == code, result.err
    assert words in result.err
    assert "Traceback" not in result.err


def test_dropout_may_be_changed_and_what_is_left_open_is_no_change(work: Path) -> None:
    result = plmtrain("finetune", *TASK, *SMALL, "init=runs/base", "name=dry", "model.dropout=0", "trainer.steps=1", cwd=work)
    assert result.code == 0, result.err
    config = yaml.safe_load((work / "runs" / "dry" / "config.yaml").read_text())
    assert (config["model"]["dropout"], config["trainer"]["epochs"]) == (0, None)


def test_edited_examples_are_noticed(work: Path) -> None:
    write(work / "own.tsv", [("a", "b", "no"), ("c", "c", "yes")] * 8)
    words = [one if "data.files" not in one else "data.files=[own.tsv]" for one in TASK]
    command = ["finetune", *words, *SMALL, EPOCHS, "init=runs/base", "name=edited", "trainer.save_every=1"]
    assert plmtrain(*command, cwd=work, fault="train.forward@1").code == -signal.SIGKILL
    write(work / "own.tsv", [("a", "b", "yes"), ("c", "c", "yes"), ("d", "d", "no")] * 8)
    result = plmtrain(*command, cwd=work)
    assert result.code == 2
    assert "the data have changed since the run began" in result.err
    assert "own.tsv has other examples" in result.err
