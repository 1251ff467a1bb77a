"""Accuracy of ``plmtrain finetune`` against the Trainer of transformers, on the same examples with the same settings.

    python scripts/compare_finetuning.py BERT_FOLDER train.tsv dev.tsv --text text --label label

Both start from the same Hugging Face folder and differ only in their random numbers: the same examples, batch, length, number of
steps, optimiser, schedule and dropout. Each seed is a process of its own for either, in turn. The accuracy after the last step is
compared, as mean and spread over the seeds; below it is the accuracy of the same model from random weights.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EPS, DECAY, WARMUP = 1e-6, 0.01, 0.06


def main() -> int:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("init", type=Path, help="a Hugging Face folder of an encoder")
    parser.add_argument("train", type=Path, help="TSV with a header")
    parser.add_argument("validation", type=Path, help="TSV with a header")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--rows", type=int, default=1600, help="use only the first ROWS training examples")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64, help="the most tokens in a row")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer", type=int, metavar="SEED", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.init, options.train, options.validation = (
        path.resolve() for path in (options.init, options.train, options.validation)
    )
    if options.peer is not None:
        print(json.dumps(_train_with_transformers(options)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.train = _beginning(options.train, folder / "train.tsv", options.rows)
        results: dict[str, list[tuple[float, float]]] = {"plmtrain": [], "transformers": [], "random weights": []}
        for seed in options.seeds:
            results["plmtrain"].append(_plmtrain(options, folder, seed, [f"init={options.init}"]))
            results["transformers"].append(_peer(options, folder, seed))
        results["random weights"].append(_plmtrain(options, folder, options.seeds[0], _shape(options.init)))
    print(f"{options.rows} examples, {options.steps} steps of {options.batch}, {options.length} tokens, seeds {options.seeds}")
    print(f"{'':<16}{'accuracy':>9}{'±':>8}   {'each':<27}{'seconds':>8}")
    for library, measured in results.items():
        accuracies, seconds = zip(*measured, strict=True)
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
        each = " ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        print(f"{library:<16}{statistics.fmean(accuracies):>9.4f}{spread:>8.4f}   {each:<27}{statistics.fmean(seconds):>8.0f}")
    return 0


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _beginning(source: Path, target: Path, rows: int) -> Path:
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(line for _, line in zip(range(rows + 1), lines, strict=False)), encoding="utf-8")
    return target


def _shape(init: Path) -> list[str]:
    """Return the overrides for a model of the folder's shape with random weights and the folder's tokenizer."""
    from plmtrain.interop.hugging_face import settings_of

    values = settings_of(init).model_dump(mode="json", exclude={"type", "name", "family", "kind"})
    shape = [f"model.{key}={json.dumps(value)}" for key, value in values.items()]
    return [f"model={settings_of(init).family}", *shape, f"tokenizer.path={init}"]


def _plmtrain(options: argparse.Namespace, folder: Path, seed: int, start: list[str]) -> tuple[float, float]:
    """Return the accuracy after the last step, and the duration in seconds."""
    name = f"{len(start)}-{seed}"
    command = [
        *(sys.executable, "-m", "plmtrain", "finetune", "task=classification", f"name={name}", f"runs_dir={folder}"),
        *(
            f"data.files=[{options.train}]",
            f"data.validation_files=[{options.validation}]",
            f"data.prepared_dir={folder / 'prepared'}",
        ),
        *(f"task.text={options.text}", f"task.label={options.label}", "task.metrics=[accuracy]", *start, f"seed={seed}"),
        *(f"trainer.steps={options.steps}", f"trainer.batch_size={options.batch}", f"trainer.sequence_length={options.length}"),
        *(f"trainer.evaluate_every={options.steps}", f"trainer.save_every={options.steps}", "trainer.precision=fp32"),
        *(f"optimizer.lr={options.lr}", f"optimizer.eps={EPS}", f"optimizer.weight_decay={DECAY}", f"schedule.warmup={WARMUP}"),
        *(f"trainer.threads={options.threads}", "trainer.device=cpu"),
    ]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    (accuracy,) = (record["val/accuracy"] for record in records if "val/accuracy" in record)
    return accuracy, time.monotonic() - began


def _peer(options: argparse.Namespace, folder: Path, seed: int) -> tuple[float, float]:
    shared = ("text", "label", "rows", "steps", "batch", "length", "lr", "threads")
    same = [word for key in shared for word in (f"--{key}", str(getattr(options, key)))]
    command = [
        sys.executable,
        __file__,
        str(options.init),
        str(options.train),
        str(options.validation),
        "--peer",
        str(seed),
        *same,
    ]
    began = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return float(json.loads(done.stdout.splitlines()[-1])), time.monotonic() - began


def _train_with_transformers(options: argparse.Namespace) -> float:
    """Return the accuracy after the last step."""
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    transformers.set_seed(options.peer)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.init)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(options.init, num_labels=2)

    def encoded(path: Path) -> list[dict[str, Any]]:
        rows = _rows(path)
        names = sorted({row[options.label] for row in _rows(options.train)})
        texts = [" ".join(row[options.text].split()) for row in rows]
        inputs = tokenizer(texts, truncation=True, max_length=options.length)
        labels = [names.index(row[options.label]) for row in rows]
        return [{**{key: inputs[key][index] for key in inputs}, "labels": label} for index, label in enumerate(labels)]

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
        train_dataset=encoded(options.train),
        data_collator=transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8),
    )
    trainer.train()
    output = trainer.predict(encoded(options.validation))
    return float((output.predictions.argmax(-1) == output.label_ids).mean())


if __name__ == "__main__":
    sys.exit(main())
