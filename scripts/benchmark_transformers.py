"""Tokens per second of plmtrain's trainer against the Trainer of transformers, on the same rows of text.

    python scripts/benchmark_transformers.py                        # BERT of 4 layers, 256 wide, 32 x 128 tokens a step
    python scripts/benchmark_transformers.py --precisions bf16 --rounds 5 data=text data.files=[mytext.txt]
    python scripts/benchmark_transformers.py --model gpt2 --batch 8 --length 512 --vocabulary 8000

Both train the same model on the same prepared tokens with the same number of threads, each with its own defaults otherwise:
plmtrain by its command line, transformers with ``BertForMaskedLM`` or ``GPT2LMHeadModel`` and its collator for language models.
Every round runs each of them once, in turn and in a process of its own, so that a slower machine slows both; the first steps of a
process do not count. Medians are compared.
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

SHAPE = {"layers": 4, "width": 256, "heads": 4, "feed_forward": 1024}
OBJECTIVES = {"bert": "dynamic_mlm", "gpt2": "clm"}


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
    parser.add_argument("--model", default="bert", choices=list(OBJECTIVES))
    parser.add_argument("--batch", type=int, default=32, help="rows of a step")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row")
    parser.add_argument("--vocabulary", type=int, default=30_522)
    parser.add_argument("--peer", nargs=3, metavar=("PREPARED", "TOKENIZER", "PRECISION"), help=argparse.SUPPRESS)
    options, overrides = parser.parse_known_args()
    if options.peer:
        _train_with_transformers(Path(options.peer[0]), Path(options.peer[1]), options.peer[2], options)
        return 0

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overrides = [
            f"model={options.model}",
            f"objective={OBJECTIVES[options.model]}",
            "data=sample",
            f"data.prepared_dir={folder / 'prepared'}",
            *overrides,
        ]
        overrides += [f"tokenizer.path={_tokenizer(folder, overrides, options.vocabulary)}", f"runs_dir={folder / 'runs'}"]
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


def _tokenizer(folder: Path, overrides: list[str], size: int) -> Path:
    """Train a tokenizer on the text, padded to the vocabulary's size: a small text gives fewer tokens, the rest are unused."""
    run_python(["-m", "plmtrain", "tokenizer", f"tokenizer.vocab_size={size}", *overrides], log=folder / "tokenizer.log")
    (trained,) = (folder / "prepared" / "tokenizers").glob("*/tokenizer.json")
    return filled_tokenizer(trained.parent, folder / "tokenizer", size)


def filled_tokenizer(trained: Path, filled: Path, size: int) -> Path:
    """Copy a tokenizer's folder, with unused tokens up to a size of its vocabulary."""
    shutil.copytree(trained, filled)
    file = filled / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    ids = content["model"]["vocab"]
    ids |= {f"[unused{number}]": number for number in range(len(ids), size)}
    file.write_text(json.dumps(content), "utf-8")
    return filled


def _plmtrain(folder: Path, name: str, precision: str, options: argparse.Namespace, overrides: list[str]) -> Measured:
    """Run ``plmtrain pretrain``; its own time excludes validation and saving."""
    shape = [f"model.{key}={value}" for key, value in SHAPE.items()]
    memory = run_python(
        [
            *("-m", "plmtrain", "pretrain", *shape),
            *(f"trainer.steps={options.steps}", f"trainer.batch_size={options.batch}"),
            f"trainer.sequence_length={options.length}",
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
    memory = run_python(
        [
            *(__file__, "--peer", str(manifest.parent), str(tokenizer), precision, "--steps", str(options.steps)),
            *("--model", options.model, "--batch", str(options.batch), "--length", str(options.length)),
        ],
        log=log,
    )
    times = json.loads(log.read_text("utf-8").splitlines()[-1])
    seconds = [after - before for before, after in zip(times[options.warmup :], times[options.warmup + 1 :], strict=False)]
    return Measured([options.batch * options.length / second for second in seconds], memory)


def run_python(arguments: list[str], log: Path) -> int:
    """Run Python to its end, its output in a file; return its peak memory in bytes."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(arguments)} ended with {code}:\n{log.read_text('utf-8')[-3000:]}")
    return usage.ru_maxrss * 1024


def _train_with_transformers(prepared: Path, tokenizer_folder: Path, precision: str, options: argparse.Namespace) -> None:
    """Train, and print the start time of the training and the end time of each step."""
    import numpy as np
    import torch
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        GPT2Config,
        GPT2LMHeadModel,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokens = np.load(prepared / "train" / "tokens.npy", mmap_mode="r")

    opening, closing = ([tokenizer.cls_token_id], [tokenizer.sep_token_id]) if options.model == "bert" else ([], [])
    size = options.length - len(opening) - len(closing)

    class Rows(torch.utils.data.Dataset):
        """Running text, for BERT between [CLS] and [SEP], as plmtrain's rows."""

        def __len__(self) -> int:
            return len(tokens) // size

        def __getitem__(self, index: int) -> dict[str, list[int]]:
            return {"input_ids": [*opening, *tokens[index * size : (index + 1) * size].tolist(), *closing]}

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_, **__) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *_, **__) -> None:
            times.append(time.perf_counter())

    config_class, model_class = {"bert": (BertConfig, BertForMaskedLM), "gpt2": (GPT2Config, GPT2LMHeadModel)}[options.model]
    config = config_class(
        vocab_size=len(tokenizer),
        num_hidden_layers=SHAPE["layers"],
        hidden_size=SHAPE["width"],
        num_attention_heads=SHAPE["heads"],
        # GPT-2's inner layers are always four times as wide.
        # GPT-2's inner layers are always four times as wide.
        **({"intermediate_size": SHAPE["feed_forward"]} if options.model == "bert" else {}),
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # the collator asks for one, though no row is padded
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            max_steps=options.steps,
            per_device_train_batch_size=options.batch,
            use_cpu=not torch.cuda.is_available(),
            bf16=precision == "bf16",
            learning_rate=1e-4,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=options.model == "bert", mlm_probability=0.15)
        Trainer(model_class(config), arguments, collator, Rows(), callbacks=[Clock()]).train()
    print(f"\n{json.dumps(times)}")


def _print_table(measured: dict[tuple[str, str], list[Measured]], options: argparse.Namespace) -> None:
    name = options.model.upper().replace("GPT", "GPT-")
    shape = f"{name} of {SHAPE['layers']} layers, {SHAPE['width']} wide, {options.vocabulary:,} tokens in the vocabulary"
    counted = options.rounds * (options.steps - options.warmup)
    median = f"median of {counted} steps in {options.rounds} rounds (range of rounds)"
    print(f"\n{shape}; {options.batch} x {options.length} tokens a step; {median}\n")
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
