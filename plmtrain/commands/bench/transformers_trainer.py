"""transformers' own Trainer in a process of its own, which takes a step whenever it is asked to.

For each line of JSON that it reads (a ``Job``), it builds the model and the Trainer, and answers with a line for each step that
the next lines ask for. Everything but the turns is transformers': the model's class, the collator, the optimiser, the loop.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors.numpy import load_file

from plmtrain import child_processes, stopping
from plmtrain.files import read_text
from plmtrain.training import memory

STEP = "step"
"""The line that asks for a step; any other one ends the training."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training to measure.

    Args:
        folder: a Hugging Face folder with the model and its tokenizer.
        rows: the file of the rows, in the order in which they are read.
        collator: what makes their batches (``peer_rows.Collator``).
        hidden: the share of tokens that a collator of masked language models hides.
        batch_size: rows of a step.
        micro_batch_size: rows at a time; it divides the batch.
        steps: the steps for which there are rows.
        device: ``cpu`` or ``cuda``.
        threads: of torch, on a CPU.
        precision: of matrix products.
        learning_rate: the peak.
        recomputed: whether blocks are computed again in the backward pass.
        compiled: whether the model is compiled.
    """

    folder: str
    rows: str
    collator: str
    hidden: float
    batch_size: int
    micro_batch_size: int
    steps: int
    device: str
    threads: int
    precision: str
    learning_rate: float
    recomputed: bool
    compiled: bool

    def as_line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self))


class Examples(torch.utils.data.Dataset[dict[str, Any]]):
    """The rows of a job as lists of numbers, as a data set of the ``datasets`` library gives them.

    Args:
        path: a file of tensors: each column, and for columns of several numbers ``COLUMN.lengths``.
    """

    def __init__(self, path: str | Path) -> None:
        columns = load_file(path)
        self._lengths = {name.removesuffix(".lengths"): columns.pop(name) for name in list(columns) if name.endswith(".lengths")}
        self._columns = columns

    def __len__(self) -> int:
        return min(map(len, self._columns.values()))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: self._of_row(name, values[index], index) for name, values in self._columns.items()}

    def _of_row(self, name: str, values: Any, index: int) -> Any:
        return values[: self._lengths[name][index]].tolist() if name in self._lengths else int(values)


def train(job: Job, asked: Iterator[str], answer: Callable[[dict[str, Any]], object]) -> None:
    """Train until nothing more is asked for.

    Args:
        job: what is trained.
        asked: yields a line for each turn; waits for it.
        answer: called with the seconds of each step, from its request to its end, and the most memory of the process since the
            last answer.
    """
    import transformers

    transformers.utils.logging.set_verbosity_error()
    device = torch.device(job.device)
    if device.type == "cpu":
        torch.set_num_threads(job.threads)

    class Turns(transformers.TrainerCallback):  # type: ignore[misc]
        """Waits for its turn before each step, and tells how long the step took, its batch included."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            answer({})
            self._wait(control)

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            answer({"seconds": time.perf_counter() - self.began, "peak": memory.peak(device)})
            self._wait(control)

        def _wait(self, control: Any) -> None:
            control.should_training_stop = next(asked, "") != STEP
            memory.forget_peak(device)
            self.began = time.perf_counter()

    class InOrder(transformers.Trainer):  # type: ignore[misc]
        """The Trainer, which reads the rows in the order of the run."""

        def _get_train_sampler(self, *given: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    tokenizer = tokenizer_of(job)
    with tempfile.TemporaryDirectory(dir=job.folder) as output:  # which is removed when this process was killed, too
        InOrder(
            model_of(job),
            transformers.TrainingArguments(
                output_dir=output,
                max_steps=job.steps,
                per_device_train_batch_size=job.micro_batch_size,
                gradient_accumulation_steps=job.batch_size // job.micro_batch_size,
                use_cpu=device.type == "cpu",
                bf16=job.precision == "bf16",
                fp16=job.precision == "fp16",
                learning_rate=job.learning_rate,
                torch_compile=job.compiled,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                **({"gradient_checkpointing": True} if job.recomputed else {}),
            ),
            collator_of(job, tokenizer),
            Examples(job.rows),
            callbacks=[Turns()],
        ).train()


def model_of(job: Job) -> Any:
    """Return the model of a job, as the class of transformers that its folder names, in train mode."""
    import transformers

    (architecture,) = json.loads(read_text(Path(job.folder) / "config.json"))["architectures"]
    return getattr(transformers, architecture).from_pretrained(job.folder).train()


def tokenizer_of(job: Job) -> Any:
    """Return the tokenizer of a job. A collator asks for a padding token, even if it pads no row."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(job.folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def collator_of(job: Job, tokenizer: Any) -> Any:
    """Return what makes a job's batches."""
    import transformers

    if job.collator == "permuted":
        return transformers.DataCollatorForPermutationLanguageModeling(tokenizer)
    if job.collator == "written":
        return transformers.DataCollatorForSeq2Seq(tokenizer)
    masked = job.collator == "masked"
    chosen = {"mlm_probability": job.hidden} if masked else {}
    return transformers.DataCollatorForLanguageModeling(tokenizer, mlm=masked, **chosen)


def serve(lines: Iterable[str], answers: TextIO) -> None:
    """Train one job after the other, with the turns between them.

    Args:
        lines: the jobs, and what is asked of each.
        answers: a line of JSON for the start of each training, and for each step.
    """

    def answer(values: dict[str, Any]) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    asked = (line.strip() for line in lines)
    for line in asked:
        train(Job(**json.loads(line)), asked, answer)


if __name__ == "__main__":
    child_processes.end_with_launcher()
    stopping.ignore()
    to_parent = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what transformers prints is no answer
    serve(sys.stdin, to_parent)
