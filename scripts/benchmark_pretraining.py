"""Real tokens per second of ``plmtrain pretrain`` on documents of any length, against the Trainer of transformers, line by line.

    python scripts/benchmark_pretraining.py lines.txt
    python scripts/benchmark_pretraining.py lines.txt --length 512 --rounds 1 --peers fixed

Both pretrain BERT-small (4 layers, 512 wide) with masked language modelling from random weights, with the same tokenizer, rows of
at most the same length, and the same number of rows in a step and of threads, each with its own defaults otherwise. A line is a
document. plmtrain packs documents into rows. The Trainer has one in each row, as in transformers' example for such data, padded
to the full length (``fixed``), or by its collator to the longest row of a batch (``padded``). Tokens that are not padding count.
Text is tokenised before; the seconds from the start of the process to the end of its first step are told, too. Every round runs
each of them once, in turn and in a process of its own, so that a slower machine slows all. Medians over rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_finetuning import SHAPE, run_python


@dataclass(frozen=True)
class Speed:
    """Tokens that are not padding per second, and seconds from the start of the process to the end of the first step."""

    tokens: float
    first_step: float


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="a text file, whose lines are documents")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs")
    parser.add_argument("--steps", type=int, default=8, help="steps that count")
    parser.add_argument("--warmup", type=int, default=3, help="first steps, which do not count")
    parser.add_argument("--batch", type=int, default=16, help="rows of a step")
    parser.add_argument("--length", type=int, default=128, help="the most tokens of a row")
    parser.add_argument("--vocabulary", type=int, default=16_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of both")
    parser.add_argument("--peers", nargs="*", default=["fixed", "padded"], choices=["fixed", "padded"])
    parser.add_argument("--peer", nargs=2, metavar=("FOLDER", "PADDING"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.text = options.text.resolve()
    if options.peer:
        train_with_transformers(Path(options.peer[0]), options.peer[1], options)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plmtrain(folder, "first", options)  # trains the tokenizer and prepares the text
        for padding in options.peers:
            tokenise(folder, padding, options)
        speeds: dict[str, list[Speed]] = {}
        for turn in range(options.rounds):
            speeds.setdefault("plmtrain", []).append(plmtrain(folder, f"round-{turn}", options))
            for padding in options.peers:
                speeds.setdefault(padding, []).append(transformers(folder, padding, options))
            told = "  ".join(f"{library} {measured[-1].tokens:.0f}" for library, measured in speeds.items())
            print(f"round {turn + 1} of {options.rounds}, tokens/s: {told}", flush=True)
    shape = f"BERT of {SHAPE['layers']} layers, {SHAPE['width']} wide"
    print(f"\n{shape}; {options.batch} rows of at most {options.length} tokens; {options.threads} threads, {options.precision}")
    ours = median(speeds["plmtrain"])
    for library, measured in speeds.items():
        its = median(measured)
        print(
            f"{library:10}{its.tokens:9.0f} tokens/s{ours.tokens / its.tokens:8.2f}   first step after {its.first_step:5.1f} s"
            f"{its.first_step / ours.first_step:8.2f}"
        )
    return 0


def median(speeds: list[Speed]) -> Speed:
    """Return the median of each measure."""
    return Speed(statistics.median(one.tokens for one in speeds), statistics.median(one.first_step for one in speeds))


def plmtrain(folder: Path, name: str, options: argparse.Namespace) -> Speed:
    """Measure ``plmtrain pretrain``; validation and saving come after the last step."""
    steps = options.warmup + options.steps
    words = [
        *(
            "model=bert",
            "objective=mlm",
            "data=text",
            f"data.files=[{options.text}]",
            f"tokenizer.vocab_size={options.vocabulary}",
        ),
        *(f"data.prepared_dir={folder / 'prepared'}", f"runs_dir={folder / 'runs'}", f"name={name}"),
        *(f"model.{key}={value}" for key, value in SHAPE.items()),
        *(
            f"trainer.batch_size={options.batch}",
            f"trainer.sequence_length={options.length}",
            f"trainer.threads={options.threads}",
        ),
        *(f"trainer.precision={options.precision}", "trainer.device=cpu", f"trainer.steps={steps}", "trainer.log_every=1"),
        *(f"trainer.evaluate_every={steps}", f"trainer.save_every={steps}", "trainer.evaluate_batches=1"),
        "data.document_per=line",
    ]
    metrics = folder / "runs" / name / "metrics.jsonl"
    first_step = seconds_to_first_line(["-m", "plmtrain", "pretrain", *words], folder / f"{name}.log", metrics)
    records = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    at = {record["step"]: record for record in records if "tokens_per_second" in record}
    first, last = at[options.warmup], at[steps]
    return Speed((last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"]), first_step)


def seconds_to_first_line(arguments: list[str], log: Path, steps: Path) -> float:
    """Run Python to its end, its output in a file. Return the seconds until the file of its steps has a first line."""
    with ThreadPoolExecutor(1) as pool:
        began = time.perf_counter()
        run = pool.submit(run_python, arguments, log)
        while not run.done() and not (steps.exists() and steps.stat().st_size):
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        run.result()
    return seconds


def tokenise(folder: Path, padding: str, options: argparse.Namespace) -> None:
    """Write the lines as the Trainer reads them; only as many as its steps need."""
    from datasets import Dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "runs" / "first" / "tokenizer")
    with options.text.open(encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()][: (options.warmup + options.steps) * options.batch]
    how: dict[str, Any] = {"padding": "max_length"} if padding == "fixed" else {}
    inputs = tokenizer(lines, truncation=True, max_length=options.length, return_special_tokens_mask=True, **how)
    Dataset.from_dict(dict(inputs)).save_to_disk(folder / padding)


def transformers(folder: Path, padding: str, options: argparse.Namespace) -> Speed:
    """Measure the Trainer."""
    times = folder / f"{padding}.jsonl"
    times.unlink(missing_ok=True)
    same = [
        word
        for key in ("steps", "warmup", "batch", "length", "threads", "precision")
        for word in (f"--{key}", str(getattr(options, key)))
    ]
    first_step = seconds_to_first_line(
        [__file__, str(options.text), "--peer", str(folder), padding, *same], folder / f"{padding}.log", times
    )
    ends = [json.loads(line) for line in times.read_text("utf-8").splitlines()]
    first, last = ends[options.warmup - 1], ends[-1]
    return Speed((last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"]), first_step)


def train_with_transformers(folder: Path, padding: str, options: argparse.Namespace) -> None:
    """Train, and write a line for each step: the time at its end, and the tokens before it that are not padding."""
    import torch
    import transformers
    from datasets import load_from_disk

    torch.set_num_threads(options.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "runs" / "first" / "tokenizer")
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=SHAPE["layers"],
        hidden_size=SHAPE["width"],
        num_attention_heads=SHAPE["heads"],
        intermediate_size=SHAPE["feed_forward"],
    )
    tokens = 0

    class Counting(transformers.DataCollatorForLanguageModeling):
        def __call__(self, features: Any, return_tensors: Any = None) -> Any:
            nonlocal tokens
            batch = super().__call__(features, return_tensors)
            tokens += int(batch["attention_mask"].sum())
            return batch

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            with (folder / f"{padding}.jsonl").open("a") as file:
                file.write(json.dumps({"seconds": time.perf_counter(), "tokens": tokens}) + "\n")

    with tempfile.TemporaryDirectory() as output:
        arguments = transformers.TrainingArguments(
            output_dir=output,
            max_steps=options.warmup + options.steps,
            per_device_train_batch_size=options.batch,
            use_cpu=True,
            bf16=options.precision == "bf16",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        rows = load_from_disk(folder / padding)
        model = transformers.BertForMaskedLM(config)
        transformers.Trainer(model, arguments, Counting(tokenizer=tokenizer), rows, callbacks=[Clock()]).train()


if __name__ == "__main__":
    sys.exit(main())
