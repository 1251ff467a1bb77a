"""Tokens per second of plmtrain's trainer against the Trainer of transformers, on the same rows of text.

    python scripts/benchmark_transformers.py                        # BERT of 4 layers, 256 wide, 32 x 128 tokens a step
    python scripts/benchmark_transformers.py --precisions bf16 --rounds 5 data=text data.files=[mytext.txt]

Both train the same model on the same prepared tokens with the same number of threads, each with its own defaults otherwise:
plmtrain by its command line, transformers with ``BertForMaskedLM`` and ``DataCollatorForLanguageModeling``. Every round runs each
of them once, in turn and in a process of its own, so that a slower machine slows both; the first steps of a process do not count.
Medians are compared.
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
from dataclasses import dataclass
from pathlib import Path

BATCH, LENGTH, VOCABULARY = 32, 128, 30_522
SHAPE = {"layers": 4, "width": 256, "heads": 4, "feed_forward": 1024}


@dataclass(frozen=True)
class Measured:
    """Measurements of one process: tokens per second of each step that counts, and its peak memory in bytes."""

    rates: list[float]
    memory: int


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each trainer runs")
    parser.add_argument("--steps", type=int, default=12, help="steps of a run")
    parser.add_argument("--warmup", type=int, default=4, help="first steps of a run, which do not count")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--peer", nargs=3, metavar=("PREPARED", "TOKENIZER", "PRECISION"), help=argparse.SUPPRESS)
    options, overrides = parser.parse_known_args()
    if options.peer:
        _train_with_transformers(Path(options.peer[0]), Path(options.peer[1]), options.peer[2], options.steps)
        return 0

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overrides = ["model=bert", "data=sample", f"data.prepared_dir={folder / 'prepared'}", *overrides]
        overrides += [f"tokenizer.path={_tokenizer(folder, overrides)}", f"runs_dir={folder / 'runs'}"]
        measured: dict[tuple[str, str], list[Measured]] = {}
        for turn in range(options.rounds):
            for precision in options.precisions:
                ours = _plmtrain(folder, f"{precision}-{turn}", precision, options, overrides)
                peer = _transformers(folder, f"{precision}-{turn}", precision, options)
                for library, result in (("plmtrain", ours), ("transformers", peer)):
                    measured.setdefault((precision, library), []).append(result)
                    rate = statistics.median(result.rates)
                    print(f"round {turn + 1} of {options.rounds}  {precision}  {library:12}  {rate:8,.0f} tokens/s", flush=True)
        _print_table(measured, options)
    return 0


def _tokenizer(folder: Path, overrides: list[str]) -> Path:
    """Train a tokenizer on the text, padded to BERT's vocabulary size: a small text gives fewer tokens, the rest are unused."""
    _run(["-m", "plmtrain", "tokenizer", f"tokenizer.vocab_size={VOCABULARY}", *overrides], log=folder / "tokenizer.log")
    (trained,) = (folder / "prepared" / "tokenizers").glob("*/tokenizer.json")
    content = json.loads(trained.read_text("utf-8"))
    ids = content["model"]["vocab"]
    ids |= {f"[unused{number}]": number for number in range(len(ids), VOCABULARY)}
    filled = folder / "tokenizer"
    shutil.copytree(trained.parent, filled)
    (filled / trained.name).write_text(json.dumps(content), "utf-8")
    return filled


def _plmtrain(folder: Path, name: str, precision: str, options: argparse.Namespace, overrides: list[str]) -> Measured:
    """Run ``plmtrain pretrain``; its own time excludes validation and saving."""
    shape = [f"model.{key}={value}" for key, value in SHAPE.items()]
    memory = _run(
        [
            *("-m", "plmtrain", "pretrain", "objective=dynamic_mlm", *shape),
            *(f"trainer.steps={options.steps}", f"trainer.batch_size={BATCH}", f"trainer.sequence_length={LENGTH}"),
            *(f"trainer.evaluate_every={options.steps}", "trainer.evaluate_batches=1", f"trainer.save_every={options.steps}"),
            *(f"trainer.precision={precision}", "trainer.log_every=1", f"name={name}", *overrides),
        ],
        log=folder / f"plmtrain-{name}.log",
    )
    lines = (folder / "runs" / name / "metrics.jsonl").read_text("utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if "tokens_per_second" in record]
    return Measured([record["tokens_per_second"] for record in records if record["step"] > options.warmup], memory)


def _transformers(folder: Path, name: str, precision: str, options: argparse.Namespace) -> Measured:
    """Run transformers on the tokens that plmtrain prepared."""
    (manifest,) = (folder / "prepared").glob("*/manifest.json")
    log = folder / f"transformers-{name}.log"
    tokenizer = folder / "runs" / name / "tokenizer"
    memory = _run(
        [__file__, "--peer", str(manifest.parent), str(tokenizer), precision, "--steps", str(options.steps)],
        log=log,
    )
    times = json.loads(log.read_text("utf-8").splitlines()[-1])
    seconds = [after - before for before, after in zip(times[options.warmup :], times[options.warmup + 1 :], strict=False)]
    return Measured([BATCH * LENGTH / second for second in seconds], memory)


def _run(arguments: list[str], log: Path) -> int:
    """Run Python to its end, its output in a file; return its peak memory in bytes."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(arguments)} ended with {code}:\n{log.read_text('utf-8')[-3000:]}")
    return usage.ru_maxrss * 1024


def _train_with_transformers(prepared: Path, tokenizer_folder: Path, precision: str, steps: int) -> None:
    """Train, and print the start time of the training and the end time of each step."""
    import numpy as np
    import torch
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokens = np.load(prepared / "train" / "tokens.npy", mmap_mode="r")

    class Rows(torch.utils.data.Dataset):
        """[CLS] text [SEP], as plmtrain's rows."""

        def __len__(self) -> int:
            return len(tokens) // (LENGTH - 2)

        def __getitem__(self, index: int) -> dict[str, list[int]]:
            text = tokens[index * (LENGTH - 2) : (index + 1) * (LENGTH - 2)].tolist()
            return {"input_ids": [tokenizer.cls_token_id, *text, tokenizer.sep_token_id]}

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_, **__) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *_, **__) -> None:
            times.append(time.perf_counter())

    config = BertConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=SHAPE["layers"],
        hidden_size=SHAPE["width"],
        num_attention_heads=SHAPE["heads"],
        intermediate_size=SHAPE["feed_forward"],
    )
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            use_cpu=not torch.cuda.is_available(),
            bf16=precision == "bf16",
            learning_rate=1e-4,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        Trainer(BertForMaskedLM(config), arguments, collator, Rows(), callbacks=[Clock()]).train()
    print(f"\n{json.dumps(times)}")


def _print_table(measured: dict[tuple[str, str], list[Measured]], options: argparse.Namespace) -> None:
    shape = f"BERT of {SHAPE['layers']} layers, {SHAPE['width']} wide, {VOCABULARY:,} tokens in the vocabulary"
    counted = options.rounds * (options.steps - options.warmup)
    print(
        f"\n{shape}; {BATCH} x {LENGTH} tokens a step; median of {counted} steps in {options.rounds} rounds (range of rounds)\n"
    )
    print(f"{'':6}{'plmtrain tokens/s':>30}{'transformers tokens/s':>30}{'ratio':>8}{'peak memory':>24}")
    for precision in options.precisions:
        cells, medians, peaks = [], [], []
        for library in ("plmtrain", "transformers"):
            rounds = measured[precision, library]
            medians.append(statistics.median(rate for result in rounds for rate in result.rates))
            middles = sorted(statistics.median(result.rates) for result in rounds)
            cells.append(f"{medians[-1]:,.0f} ({middles[0]:,.0f}-{middles[-1]:,.0f})")
            peaks.append(f"{max(result.memory for result in rounds) / 2**30:.2f} GiB")
        ratio = f"{medians[0] / medians[1]:.2f}"
        print(f"{precision:6}{cells[0]:>30}{cells[1]:>30}{ratio:>8}{' / '.join(peaks):>24}")


if __name__ == "__main__":
    sys.exit(main())
