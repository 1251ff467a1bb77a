"""Texts as answers as a user meets them: trained on several formats of tables, killed, evaluated, asked, exported, refused."""

from __future__ import annotations

import csv
import importlib
import json
import random
import signal
from pathlib import Path

import pytest
import yaml
from support.command_line import json_of, plmtrain, predictions, records

WARM = [importlib.import_module(name) for name in ("torch.distributed.tensor", "sacrebleu.metrics", "plmtrain.runs.assembly")]
"""Imported here, so that the children need not."""

RUN = (
    "model=bart model.layers=1 model.decoder_layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 "
    "tokenizer.vocab_size=300 trainer.sequence_length=24 trainer.batch_size=16 trainer.log_every=1 trainer.threads=1 "
    "trainer.precision=fp32 trainer.steps=6 trainer.evaluate_every=3 schedule.warmup=0 optimizer.lr=0.01"
).split()
TASK = (
    "task=sequence_to_sequence data.files=[train.csv,more.jsonl] data.validation_files=[dev.tsv] task.text=words "
    "task.target=back task.target_length=10 task.label_smoothing=0.1 task.metrics=[chrf,bleu,exact_match]"
).split()
WORDS = "red green blue black white cat dog bird fish horse".split()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with examples, words to be written backwards, and a fine-tuned run."""
    folder = tmp_path_factory.mktemp("work")
    choose = random.Random(1)
    texts = [choose.choices(WORDS, k=choose.randint(1, 3)) for _ in range(72)]
    rows = [{"words": " ".join(words), "back": " ".join(reversed(words))} for words in texts]
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["back", "words"])
        writer.writeheader()
        writer.writerows(rows[:40])
    (folder / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[40:60]))
    (folder / "dev.tsv").write_text("words\tback\n" + "".join(f"{row['words']}\t{row['back']}\n" for row in rows[60:]))
    result = plmtrain("finetune", *TASK, *RUN, "name=tuned", cwd=folder)
    assert result.code == 0, result.err
    (folder / "said.txt").write_text(result.out)
    return folder


def test_a_run_leaves_what_it_wrote_and_how_it_was_scored(work: Path) -> None:
    run, said = work / "runs" / "tuned", (work / "said.txt").read_text()
    validations = {int(one["step"]): one["val/chrf"] for one in records(run) if "val/chrf" in one}
    assert list(validations) == [3, 6]
    status = json.loads((run / "status.json").read_text())
    assert validations[status["result_step"]] == max(validations.values())
    lines = predictions(run)
    assert [list(line) for line in lines] == [["words", "expected", "prediction"]] * 12
    for words in (
        "60 training examples, 12 held out",
        "words on average",
        "of the targets to fit 10",
        "chrF2|nrefs:1|",
        "BLEU|nrefs:1|",
    ):
        assert words in " ".join(said.split()).replace("| ", "|"), words
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["task"]["target_length"], config["model"]["decoder_layers"]) == (10, 2)
    (found,) = json_of(plmtrain("evaluate", "runs/tuned", "--json", cwd=work))
    assert found["chrf"] == pytest.approx(max(validations.values()))
    assert {"bleu", "exact_match", "perplexity"} <= found.keys()


def test_killed_it_goes_on_to_the_same_end(work: Path) -> None:
    assert plmtrain("finetune", *TASK, *RUN, "name=killed", cwd=work, fault="eval@3").code == -signal.SIGKILL
    assert plmtrain("finetune", *TASK, *RUN, "name=killed", cwd=work).code == 0
    assert predictions(work / "runs" / "killed") == predictions(work / "runs" / "tuned")


def test_predict_answers_as_in_validation_from_text_tables_and_standard_input(work: Path) -> None:
    expected = predictions(work / "runs" / "tuned")
    (one,) = json_of(plmtrain("predict", "runs/tuned", "--json", expected[0]["words"], cwd=work))
    assert one == {"words": expected[0]["words"], "prediction": expected[0]["prediction"]}
    result = plmtrain("predict", "runs/tuned", "--file", "dev.tsv", "--output", "answers.csv", cwd=work)
    assert result.code == 0, result.err
    with (work / "answers.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [(row["words"], row["back"], row["prediction"]) for row in written] == [
        (line["words"], line["expected"], line["prediction"]) for line in expected
    ]
    piped = json_of(plmtrain("predict", "runs/tuned", "--json", "--format", "tsv", cwd=work, given=work / "dev.tsv"))
    assert [line["prediction"] for line in piped] == [line["prediction"] for line in expected]
    shorter = json_of(plmtrain("predict", "runs/tuned", "--json", "--max-new-tokens", "3", "--beams", "2", "red cat", cwd=work))
    assert len(shorter[0]["prediction"].split()) <= 3


def test_an_exported_model_answers_alike(work: Path) -> None:
    assert plmtrain("export", "runs/tuned", "exported", cwd=work).code == 0
    expected = predictions(work / "runs" / "tuned")[:3]
    found = json_of(plmtrain("predict", "exported", "--json", *(line["words"] for line in expected), cwd=work))
    assert [line["prediction"] for line in found] == [line["prediction"] for line in expected]


def test_what_cannot_be_is_told_with_its_line(work: Path) -> None:
    (work / "bad.tsv").write_text("words\tback\nred\tred\nblue\t \n")
    bad = ["data.files=[bad.tsv]", "data.validation_files=[bad.tsv]"]
    for overrides, code, told in (
        (bad, 3, ["column 'back' is empty: there is nothing to write", "bad.tsv:3", "data.on_bad=skip"]),
        (["task.target=front"], 3, ["there is no column 'front'", "train.csv:1", "task.target"]),
        (["task.metrics=[blue]"], 2, ["task.metrics"]),
        (["task.target_length=64"], 2, ["task.target_length (64) is more than model=bart takes (32)"]),
    ):
        result = plmtrain("finetune", *TASK, *RUN, "name=refused", *overrides, cwd=work)
        assert result.code == code, result.err
        for words in told:
            assert words in result.err, words
        assert "Traceback" not in result.err
