"""Examples per second of ``plmtrain finetune`` against the Trainer of transformers, on the same examples.

    python scripts/benchmark_finetuning.py train.tsv --text text --label label
    python scripts/benchmark_finetuning.py train.tsv --rounds 1 --steps 8 --peers padded

Both train a classifier of the same shape (BERT-small: 4 layers, 512 wide) from random weights, on the same tokens with the same
number of threads, each with its own defaults otherwise. The Trainer pads every row to the full length (``fixed``), and with its
padding collator to the longest row of a batch (``padded``). Every round runs each of them once, in turn and in a process of its
own, so that a slower machine slows all. A step's cost depends on its rows: ours are counted over a whole window of steps whose
rows are drawn together, after a first window that does not count. Medians over rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SHAPE = {"layers": 4, "width": 512, "heads": 8, "feed_forward": 2048}
WINDOW = 32
"""The steps of ours whose rows are drawn together (``trainer.length_window``)."""


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="TSV with a header")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs")
    parser.add_argument("--steps", type=int, default=12, help="steps of the Trainer that count")
    parser.add_argument("--warmup", type=int, default=3, help="first steps of the Trainer, which do not count")
    parser.add_argument("--batch", type=int, default=32, help="examples of a step")
    parser.add_argument("--length", type=int, default=128, help="the most tokens of a row")
    parser.add_argument("--vocabulary", type=int, default=30_522)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", nargs="*", default=["fixed", "padded"], choices=["fixed", "padded"])
    parser.add_argument("--peer", nargs=2, metavar=("TOKENIZER", "PADDING"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.train = options.train.resolve()
    if options.peer:
        _train_with_transformers(Path(options.peer[0]), options.peer[1], options)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = _tokenizer(folder, options)
        rates: dict[str, list[float]] = {}
        for turn in range(options.rounds):
            rates.setdefault("plmtrain", []).append(_plmtrain(folder, f"round-{turn}", tokenizer, options))
            for padding in options.peers:
                rates.setdefault(padding, []).append(_transformers(folder, tokenizer, padding, options))
            told = "  ".join(f"{library} {measured[-1]:.1f}" for library, measured in rates.items())
            print(f"round {turn + 1} of {options.rounds}, examples/s: {told}", flush=True)
    ours = statistics.median(rates["plmtrain"])
    shape = f"BERT of {SHAPE['layers']} layers, {SHAPE['width']} wide"
    print(f"\n{shape}; {options.batch} examples a step; {options.threads} threads, fp32")
    for library, measured in rates.items():
        median, lowest, highest = statistics.median(measured), min(measured), max(measured)
        print(f"{library:10}{median:9.1f} examples/s ({lowest:.1f}-{highest:.1f}){ours / median:8.2f}")
    return 0


def _settings(folder: Path, options: argparse.Namespace) -> list[str]:
    return [
        *("task=classification", f"task.text={options.text}", f"task.label={options.label}", "model=bert"),
        *(f"data.files=[{options.train}]", f"data.prepared_dir={folder / 'prepared'}", f"runs_dir={folder / 'runs'}"),
        *(f"model.{key}={value}" for key, value in SHAPE.items()),
        *(f"trainer.batch_size={options.batch}", f"trainer.sequence_length={options.length}", f"trainer.length_window={WINDOW}"),
        *("trainer.precision=fp32", f"trainer.threads={options.threads}", "trainer.device=cpu", "trainer.evaluate_batches=1"),
    ]


def filled_tokenizer(trained: Path, filled: Path, size: int) -> Path:
    """Copy a tokenizer's folder, with unused tokens up to a size of its vocabulary."""
    shutil.copytree(trained, filled)
    file = filled / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    ids = content["model"]["vocab"]
    ids |= {f"[unused{number}]": number for number in range(len(ids), size)}
    file.write_text(json.dumps(content), "utf-8")
    return filled


def run_python(arguments: Sequence[str], log: Path, folder: Path | None = None) -> None:
    """Run Python to its end, in a folder if one is given, its output in a file."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("w") as output:
        started = [sys.executable, *arguments]
        code = subprocess.run(started, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment).returncode
    if code:
        sys.exit(f"{' '.join(arguments)} ended with {code}:\n{log.read_text('utf-8')[-3000:]}")


def _tokenizer(folder: Path, options: argparse.Namespace) -> Path:
    """Train a tokenizer on the examples by a run of one step, and pad it to the vocabulary's size."""
    words = [*_settings(folder, options), "trainer.steps=1", f"tokenizer.vocab_size={options.vocabulary}", "name=tokenizer"]
    run_python(["-m", "plmtrain", "finetune", *words], log=folder / "tokenizer.log")
    return filled_tokenizer(folder / "runs" / "tokenizer" / "tokenizer", folder / "tokenizer", options.vocabulary)


def _plmtrain(folder: Path, name: str, tokenizer: Path, options: argparse.Namespace) -> float:
    """Return the examples per second of ``plmtrain finetune``; validation and saving come after the last step."""
    steps = 2 * WINDOW
    timing = [f"trainer.steps={steps}", f"trainer.evaluate_every={steps}", f"trainer.save_every={steps}", "trainer.log_every=1"]
    words = [*_settings(folder, options), *timing, f"tokenizer.path={tokenizer}", f"name={name}"]
    run_python(["-m", "plmtrain", "finetune", *words], log=folder / f"{name}.log")
    lines = (folder / "runs" / name / "metrics.jsonl").read_text("utf-8").splitlines()
    ends = {record["step"]: record["seconds"] for record in map(json.loads, lines) if "tokens_per_second" in record}
    return WINDOW * options.batch / (ends[steps] - ends[WINDOW])


def _transformers(folder: Path, tokenizer: Path, padding: str, options: argparse.Namespace) -> float:
    """Return the examples per second of the Trainer."""
    log = folder / f"{padding}.log"
    shared = ("text", "label", "steps", "warmup", "batch", "length", "threads")
    same = [word for key in shared for word in (f"--{key}", str(getattr(options, key)))]
    run_python([__file__, str(options.train), "--peer", str(tokenizer), padding, *same], log=log)
    times = json.loads(log.read_text("utf-8").splitlines()[-1])
    return options.steps * options.batch / (times[-1] - times[options.warmup])


def _train_with_transformers(tokenizer_folder: Path, padding: str, options: argparse.Namespace) -> None:
    """Train, and print the start time of the training and the end time of each step."""
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    lines = [line.split("\t") for line in options.train.read_text("utf-8").splitlines()]
    text, label = lines[0].index(options.text), lines[0].index(options.label)
    names = sorted({line[label] for line in lines[1:]})
    how = {"padding": "max_length"} if padding == "fixed" else {}
    inputs = tokenizer([line[text] for line in lines[1:]], truncation=True, max_length=options.length, **how)
    rows = [
        {**{key: inputs[key][number] for key in inputs}, "labels": names.index(line[label])}
        for number, line in enumerate(lines[1:])
    ]
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=SHAPE["layers"],
        hidden_size=SHAPE["width"],
        num_attention_heads=SHAPE["heads"],
        intermediate_size=SHAPE["feed_forward"],
        num_labels=len(names),
    )
    times: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_train_begin(self, *_, **__) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *_, **__) -> None:
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as output:
        arguments = transformers.TrainingArguments(
            output_dir=output,
            max_steps=options.warmup + options.steps,
            per_device_train_batch_size=options.batch,
            use_cpu=True,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        collator = transformers.default_data_collator if padding == "fixed" else transformers.DataCollatorWithPadding(tokenizer)
        model = transformers.BertForSequenceClassification(config)
        transformers.Trainer(model, arguments, collator, rows, callbacks=[Clock()]).train()
    print(f"\n{json.dumps(times)}")


if __name__ == "__main__":
    sys.exit(main())
