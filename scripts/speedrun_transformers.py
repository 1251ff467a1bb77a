"""The yardstick of ``speedrun.py`` for the Trainer of transformers: how far below the unigram loss it comes in as many minutes.

    python scripts/speedrun_transformers.py --run speedrun/runs/this-1 --minutes 15
    python scripts/speedrun_transformers.py --run speedrun/runs/this-1 --minutes 15 --rates 5e-4 --warmups 0.05 --seeds 1 2 3

It trains a BERT of the run's shape, with the run's tokenizer and rows of its length, as transformers' example for masked language
models does: texts joined and cut into rows, the collator's masks, AdamW, a linear schedule, the defaults of ``BertConfig`` and
``TrainingArguments`` but for what is named here. The number of steps is planned from measured ones: the schedule ends with the
time. Every pair of a rate and a warm-up is tried. The held-out loss is computed by plmtrain, with the text and the rows of the
run and the masks of ``objective=dynamic_mlm``, so that both have the same measure. The run's held-out documents are not taken out
of what the Trainer reads.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from benchmark_finetuning import run_python

from plmtrain import limits
from plmtrain.data.corpus.sources import sample_texts

MEASURED = 12
"""Steps that the time of a step is measured with; the first two do not count."""


def main() -> int:
    """Train with every rate and warm-up, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run of speedrun.py, whose text, tokenizer and shape are used")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4, 5e-4, 1e-3, 2e-3])
    parser.add_argument("--warmups", type=float, nargs="+", default=[0.1], help="shares of the steps")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--batch", type=int, default=16, help="rows of a step")
    parser.add_argument("--threads", type=int, default=limits.cores())
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        train(Path(options.peer), options)
        return 0
    run = options.run.resolve()
    if config_of(run)["data"]["type"] not in ("jsonl", "sample"):
        parser.error(f"{run} reads data={config_of(run)['data']['type']}: name a run on data=jsonl or data=sample")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as plmtrain has it
    with tempfile.TemporaryDirectory() as name:
        exported = Path(name) / "exported"
        run_python(["-m", "plmtrain", "export", str(run), str(exported)], log=Path(name) / "export.log")
        for rate, warmup, seed in itertools.product(options.rates, options.warmups, options.seeds):
            folder = Path(name) / f"{rate:g}-{warmup:g}-{seed}"
            words = [f"--{key}={getattr(options, key)}" for key in ("minutes", "batch", "threads", "precision")]
            one = [f"--run={run}", f"--rates={rate}", f"--warmups={warmup}", f"--seeds={seed}", f"--peer={folder}"]
            folder.mkdir()
            run_python([str(Path(__file__).resolve()), *words, *one], log=folder / "trainer.log", folder=folder.parent)
            told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
            told |= {"rate": rate, "warmup": warmup, "seed": seed, "below": below(run, folder)}
            print(json.dumps(told), flush=True)
    return 0


def below(run: Path, folder: Path) -> float:
    """Return how many nats the loss of hidden held-out tokens is below their unigram loss, on the rows and masks of a run: by one
    step at a rate of nothing, and the validation after it."""
    config = config_of(run)
    trainer = config["trainer"]
    own = [f"{key}={json.dumps(value)}" for key, value in _flat("data", config["data"]) if value is not None]
    kept = [f"trainer.{key}={json.dumps(trainer[key])}" for key in ("sequence_length", "evaluate_batches", "batch_size")]
    one_step = ["objective=dynamic_mlm", "optimizer.lr=1e-12", "trainer.steps=1", "trainer.evaluate_every=1"]
    measured = ["name=measured", f"runs_dir={folder / 'runs'}", f"data={config['data']['type']}", *own, *kept]
    words = ["-m", "plmtrain", "pretrain", f"init={folder}", *one_step, *measured]
    run_python(words, log=folder / "measured.log", folder=folder.parent)
    lines = (folder / "runs" / "measured" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    record = next(record for record in map(json.loads, lines) if "val/hidden_loss" in record)
    return float(record["val/hidden_unigram_loss"] - record["val/hidden_loss"])


def config_of(run: Path) -> dict[str, Any]:
    """Return the settings of a run."""
    config: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return config


def _flat(prefix: str, tree: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if key in ("type", "prepared_dir"):
            continue
        if isinstance(value, dict):
            yield from _flat(f"{prefix}.{key}", value)
        else:
            yield f"{prefix}.{key}", value


def train(folder: Path, options: argparse.Namespace) -> None:
    """Train with transformers, and write the model, its tokenizer and what was done."""
    import transformers

    torch.set_num_threads(options.threads)
    config = config_of(options.run)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder.parent / "exported")
    length = config["trainer"]["sequence_length"]
    rows = rows_of(config, tokenizer, length, folder.parent / "rows.npy")
    shape = config["model"]

    def trainer(steps: int, *callbacks: Any) -> Any:
        transformers.set_seed(options.seeds[0])
        model = transformers.BertForMaskedLM(
            transformers.BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=shape["width"],
                num_hidden_layers=shape["layers"],
                num_attention_heads=shape["heads"],
                intermediate_size=shape["feed_forward"],
                max_position_embeddings=shape["positions"],
            )
        )
        arguments = transformers.TrainingArguments(
            output_dir=str(folder / "trainer"),
            max_steps=steps,
            per_device_train_batch_size=options.batch,
            learning_rate=options.rates[0],
            warmup_steps=round(options.warmups[0] * steps),
            bf16=options.precision == "bf16",
            use_cpu=True,
            seed=options.seeds[0],
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_steps=10**9,
        )
        collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        return transformers.Trainer(model, arguments, collator, rows, callbacks=list(callbacks))

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        """The time at the end of each step."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.times.append(time.perf_counter())

    trial = Clock()
    trainer(MEASURED, trial).train()
    each = (trial.times[-1] - trial.times[1]) / (len(trial.times) - 2)
    steps = round(60 * options.minutes / each)
    began = time.perf_counter()
    training = trainer(steps)
    training.train()
    minutes = (time.perf_counter() - began) / 60
    training.save_model(str(folder))
    tokenizer.save_pretrained(folder)
    told = {"steps": steps, "minutes": round(minutes, 2), "tokens": steps * options.batch * length}
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")


def rows_of(config: dict[str, Any], tokenizer: Any, length: int, kept: Path) -> list[dict[str, list[int]]]:
    """Return the run's texts, joined and cut into rows, which are kept for the next training."""
    if not kept.is_file():
        import datasets

        data, cache = config["data"], str(kept.parent / "datasets")
        if data["type"] == "sample":
            texts: Iterable[str] = sample_texts()
        else:
            texts = datasets.load_dataset("json", data_files=data["files"], split="train", cache_dir=cache)[data["text_column"]]
        ids = (tokenizer(text)["input_ids"] for text in texts)
        joined = np.fromiter(itertools.chain.from_iterable(ids), np.int32)
        np.save(kept, joined[: len(joined) // length * length].reshape(-1, length))
    return [{"input_ids": row} for row in np.load(kept).tolist()]


if __name__ == "__main__":
    sys.exit(main())
