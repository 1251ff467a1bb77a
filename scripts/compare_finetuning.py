"""Scores of ``plmtrain finetune`` against the Trainer of transformers, on the same examples with the same settings.

    python scripts/compare_finetuning.py classification BERT_FOLDER train.tsv dev.tsv --text text --label label
    python scripts/compare_finetuning.py tags BERT_FOLDER train.conll.gz dev.conll.gz --columns word,fine,coarse --label coarse
    python scripts/compare_finetuning.py spans BERT_FOLDER squad.json --length 192 --batch 16 --lr 3e-4

Both start from the same Hugging Face folder and differ only in their random numbers: the same examples, batch, length, number of
steps, optimiser, schedule and dropout. Each seed is a process of its own for either, in turn. The score after the last step is
compared: accuracy, accuracy of words, or F1 of answers. Each has a 95 % interval of its mean over the seeds, and so has the
difference (Student's t, for the difference Welch's). Below it is the score of the same model from random weights. Of questions in
one file of SQuAD's layout the last fifth of the paragraphs is held out.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPS, DECAY, WARMUP = 1e-6, 0.01, 0.06
MEASURES = {"classification": "accuracy", "tags": "accuracy", "spans": "f1"}
STRIDE, QUESTION, ANSWER, BEST = 64, 64, 30, 20
SHARED = ("text", "label", "columns", "steps", "batch", "length", "lr", "threads")
"""The options that both libraries get."""


def main() -> int:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(MEASURES))
    parser.add_argument("init", type=Path, help="a Hugging Face folder of BERT")
    parser.add_argument("train", type=Path, help="TSV with a header, CoNLL or SQuAD's JSON")
    parser.add_argument("validation", type=Path, nargs="?", help="the same; not for spans")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--columns", default="word,label", help="of CoNLL; the first has the words")
    parser.add_argument("--rows", type=int, default=1600, help="use only the first ROWS training examples")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64, help="the most tokens in a row")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer", type=int, metavar="SEED", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task == "spans" and options.length < QUESTION + 16:
        parser.error(f"--length {options.length} has no room for a context beside a question of {QUESTION} tokens")
    options.init, options.train = options.init.resolve(), options.train.resolve()
    if options.peer is not None:
        print(json.dumps(_train_with_transformers(options)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.train, options.validation = _files(options, folder)
        results: dict[str, list[tuple[float, float]]] = {"plmtrain": [], "transformers": [], "random weights": []}
        for seed in options.seeds:
            results["plmtrain"].append(_plmtrain(options, folder, seed, [f"init={options.init}"]))
            results["transformers"].append(_peer(options, folder, seed))
        results["random weights"].append(_plmtrain(options, folder, options.seeds[0], _shape(options.init)))
    what = f"{MEASURES[options.task]} of {options.task}"
    print(f"{what}: {options.steps} steps of {options.batch}, {options.length} tokens, seeds {options.seeds}")
    for library, measured in results.items():
        scores, seconds = zip(*measured, strict=True)
        each = " ".join(f"{score:.4f}" for score in scores)
        print(
            f"{library:<16}{statistics.fmean(scores):>9.4f}  {_interval(scores):<20}{each:<27}{statistics.fmean(seconds):>6.0f} s"
        )
    ours, theirs = ([score for score, _ in results[library]] for library in ("plmtrain", "transformers"))
    print(f"{'difference':<16}{statistics.fmean(ours) - statistics.fmean(theirs):>+9.4f}  {_difference(ours, theirs)}")
    return 0


def _overlap(length: int) -> int:
    """Return the tokens that two windows of a context share: no more than half of its room."""
    return min(STRIDE, (length - QUESTION) // 2)


def _interval(scores: Sequence[float]) -> str:
    from scipy import stats

    if len(scores) < 2:
        return ""
    low, high = stats.t.interval(0.95, len(scores) - 1, statistics.fmean(scores), stats.sem(scores) or 1e-12)
    return f"{low:.4f} to {high:.4f}"


def _difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    from scipy import stats

    if len(ours) < 2 or len({*ours, *theirs}) < 2:
        return ""
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    return f"{low:+.4f} to {high:+.4f}: they {'separate' if low > 0 or high < 0 else 'do not separate'}"


def _files(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Write the examples that both libraries read."""
    if options.task == "spans":
        articles = json.loads(options.train.read_text("utf-8"))["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        held_out = len(paragraphs) // 5
        for name, some in (("train.json", paragraphs[:-held_out]), ("dev.json", paragraphs[-held_out:])):
            (folder / name).write_text(json.dumps({"data": [{"title": "", "paragraphs": some}]}), "utf-8")
        return folder / "train.json", folder / "dev.json"
    if options.task == "classification":
        with options.train.open(encoding="utf-8") as lines:
            beginning = "".join(line for _, line in zip(range(options.rows + 1), lines, strict=False))
        (folder / "train.tsv").write_text(beginning, encoding="utf-8")
        return folder / "train.tsv", options.validation.resolve()
    for name, path, most in (("train.conll", options.train, options.rows), ("dev.conll", options.validation, options.rows // 4)):
        # The peer cuts longer sentences, plmtrain reads them in windows.
        whole = [sentence for sentence in _sentences(path) if len(sentence) <= options.length // 3][:most]
        text = "\n\n".join("\n".join("\t".join(cells) for cells in sentence) for sentence in whole)
        (folder / name).write_text(f"{text}\n", "utf-8")
    return folder / "train.conll", folder / "dev.conll"


def _sentences(path: Path) -> list[list[list[str]]]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    parts = content.decode("utf-8").strip().split("\n\n")
    return [[line.split("\t") for line in part.splitlines()] for part in parts if part.strip()]


def _shape(init: Path) -> list[str]:
    """Return the overrides for a model of the folder's shape with random weights and the folder's tokenizer."""
    from plmtrain.interop.hugging_face import settings_of

    values = settings_of(init).model_dump(mode="json", exclude={"type", "name", "family", "kind"})
    shape = [f"model.{key}={json.dumps(value)}" for key, value in values.items()]
    return [f"model={settings_of(init).family}", *shape, f"tokenizer.path={init}"]


def _plmtrain(options: argparse.Namespace, folder: Path, seed: int, start: list[str]) -> tuple[float, float]:
    """Return the score after the last step, and the duration in seconds."""
    name = f"{len(start)}-{seed}"
    tasks = {
        "classification": [
            "classification",
            f"task.text={options.text}",
            f"task.label={options.label}",
            "task.metrics=[accuracy]",
        ],
        "tags": [
            *("token_labels", f"data.columns=[{options.columns}]", f"task.text={options.columns.partition(',')[0]}"),
            *(f"task.label={options.label}", "task.scheme=words"),
        ],
        "spans": [
            *(
                "question_answering",
                f"task.stride={options.length - QUESTION - _overlap(options.length)}",
                f"task.question_length={QUESTION}",
            ),
            *(f"task.answer_length={ANSWER}", f"task.n_best={BEST}"),
        ],
    }
    kind, *chosen = tasks[options.task]
    command = [
        *(sys.executable, "-m", "plmtrain", "finetune", f"task={kind}", *chosen, f"name={name}", f"runs_dir={folder}"),
        *(f"data.files=[{options.train}]", f"data.validation_files=[{options.validation}]"),
        *(f"data.prepared_dir={folder / 'prepared'}", *start, f"seed={seed}"),
        *(f"trainer.steps={options.steps}", f"trainer.batch_size={options.batch}", f"trainer.sequence_length={options.length}"),
        *(f"trainer.evaluate_every={options.steps}", f"trainer.save_every={options.steps}", "trainer.precision=fp32"),
        *(f"optimizer.lr={options.lr}", f"optimizer.eps={EPS}", f"optimizer.weight_decay={DECAY}", f"schedule.warmup={WARMUP}"),
        *(f"trainer.threads={options.threads}", "trainer.device=cpu"),
    ]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    measure = f"val/{MEASURES[options.task]}"
    (score,) = (record[measure] for record in records if measure in record)
    return score, time.monotonic() - began


def _peer(options: argparse.Namespace, folder: Path, seed: int) -> tuple[float, float]:
    same = [word for key in SHARED for word in (f"--{key}", str(getattr(options, key)))]
    files = (str(options.init), str(options.train), str(options.validation))
    command = [sys.executable, str(Path(__file__).resolve()), options.task, *files, "--peer", str(seed), *same]
    began = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return float(json.loads(done.stdout.splitlines()[-1])), time.monotonic() - began


def _train_with_transformers(options: argparse.Namespace) -> float:
    """Return the score after the last step."""
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    transformers.set_seed(options.peer)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.init)
    encode = {"classification": _labelled, "tags": _tagged, "spans": _asked}[options.task]
    names, (train, validation) = encode(options, tokenizer)
    heads = {
        "classification": transformers.AutoModelForSequenceClassification,
        "tags": transformers.AutoModelForTokenClassification,
        "spans": transformers.AutoModelForQuestionAnswering,
    }
    model = heads[options.task].from_pretrained(options.init, num_labels=len(names))
    collators = {"tags": transformers.DataCollatorForTokenClassification}
    collator = collators.get(options.task, transformers.DataCollatorWithPadding)(tokenizer, pad_to_multiple_of=8)
    shown = ("input_ids", "token_type_ids", "attention_mask", "labels", "start_positions", "end_positions")
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir="peer",
            max_steps=options.steps,
            per_device_train_batch_size=options.batch,
            per_device_eval_batch_size=options.batch,
            learning_rate=options.lr,
            adam_epsilon=EPS,
            weight_decay=DECAY,
            warmup_steps=round(WARMUP * options.steps),
            lr_scheduler_type="linear",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=options.peer,
            use_cpu=True,
        ),
        train_dataset=[{key: row[key] for key in shown if key in row} for row in train],
        data_collator=collator,
    )
    trainer.train()
    output = trainer.predict([{key: row[key] for key in shown if key in row} for row in validation])
    if options.task == "spans":
        return _f1_of_answers(output.predictions, validation)
    right, asked = output.label_ids, output.label_ids != -100
    return float((output.predictions.argmax(-1) == right)[asked].mean())


Rows = list[dict[str, Any]]


def _labelled(options: argparse.Namespace, tokenizer: Any) -> tuple[Sequence[str], list[Rows]]:
    """Return the labels, and the rows of both parts."""
    parts = []
    for path in (options.train, options.validation):
        with path.open(encoding="utf-8", newline="") as file:
            parts.append(list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)))
    names = sorted({row[options.label] for row in parts[0]})
    sides = []
    for rows in parts:
        inputs = tokenizer([" ".join(row[options.text].split()) for row in rows], truncation=True, max_length=options.length)
        sides.append(
            [
                {**{key: inputs[key][number] for key in inputs}, "labels": names.index(row[options.label])}
                for number, row in enumerate(rows)
            ]
        )
    return names, sides


def _tagged(options: argparse.Namespace, tokenizer: Any) -> tuple[Sequence[str], list[Rows]]:
    """Return the labels, and the rows of both parts: the first token of a word has its label, the others have none."""
    column = options.columns.split(",").index(options.label)
    parts = [_sentences(path) for path in (options.train, options.validation)]
    names = sorted({cells[column] for sentence in parts[0] for cells in sentence})
    sides = []
    for sentences in parts:
        words = [[cells[0] for cells in sentence] for sentence in sentences]
        inputs = tokenizer(words, is_split_into_words=True, truncation=True, max_length=options.length)
        rows = []
        for number, sentence in enumerate(sentences):
            owners, labels = inputs.word_ids(number), []
            for place, owner in enumerate(owners):
                first = owner is not None and (place == 0 or owners[place - 1] != owner)
                labels.append(names.index(sentence[owner][column]) if first else -100)
            rows.append({**{key: inputs[key][number] for key in inputs}, "labels": labels})
        sides.append(rows)
    return names, sides


def _asked(options: argparse.Namespace, tokenizer: Any) -> tuple[Sequence[str], list[Rows]]:
    """Return the two ends of an answer, and the windows of both parts, as the example of transformers makes them."""
    sides = []
    for path in (options.train, options.validation):
        rows = []
        for paragraph in json.loads(path.read_text("utf-8"))["data"][0]["paragraphs"]:
            for question in paragraph["qas"]:
                rows += _windows(question, paragraph["context"], tokenizer, options.length)
        sides.append(rows)
    return ("start", "end"), sides


def _windows(question: dict[str, Any], context: str, tokenizer: Any, length: int) -> Rows:
    inputs = tokenizer(
        question["question"],
        context,
        truncation="only_second",
        max_length=length,
        stride=_overlap(length),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    answer = question["answers"][0]
    begin, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
    rows = []
    for number, offsets in enumerate(inputs["offset_mapping"]):
        owners = inputs.sequence_ids(number)
        places = [span if owner == 1 else None for span, owner in zip(offsets, owners, strict=True)]
        inside = [place for place, span in enumerate(places) if span is not None and span[1] > begin and span[0] < end]
        whole = inside and places[inside[0]][0] <= begin and places[inside[-1]][1] >= end
        first, last = (inside[0], inside[-1]) if whole else (0, 0)
        keys = ("input_ids", "token_type_ids", "attention_mask")
        rows.append(
            {
                **{key: inputs[key][number] for key in keys},
                **{"start_positions": first, "end_positions": last, "places": places, "id": question["id"], "context": context},
                "right": [one["text"] for one in question["answers"]],
            }
        )
    return rows


def _f1_of_answers(scores: Any, rows: Rows) -> float:
    """Return the mean F1 of the best answer to each question over its windows."""
    from plmtrain.metrics.answers import f1

    best: dict[str, tuple[float, str, list[str]]] = {}
    for number, row in enumerate(rows):
        starts, ends = scores[0][number], scores[1][number]
        places = [place for place, span in enumerate(row["places"]) if span is not None]
        for first in sorted(places, key=lambda place: -starts[place])[:BEST]:
            for last in sorted(places, key=lambda place: -ends[place])[:BEST]:
                if first <= last < first + ANSWER:
                    text = row["context"][row["places"][first][0] : row["places"][last][1]]
                    best[row["id"]] = max(
                        best.get(row["id"], (float("-inf"), "", row["right"])),
                        (float(starts[first] + ends[last]), text, row["right"]),
                    )
    return statistics.fmean(f1(text, right) for _, text, right in best.values())


if __name__ == "__main__":
    sys.exit(main())
