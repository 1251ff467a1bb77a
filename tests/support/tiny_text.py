"""A corpus, examples, and command lines small enough to be run dozens of times."""

from __future__ import annotations

import random
from pathlib import Path

SHAPE = (
    "model=bert model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 trainer.threads=1 "
    "trainer.sequence_length=16 trainer.batch_size=8 tokenizer.vocab_size=120"
).split()
"""Of a run of any kind."""

STEPS = "trainer.steps=8 trainer.save_every=2 trainer.log_every=1 trainer.evaluate_batches=2".split()

PRETRAIN = [*SHAPE, *STEPS, "objective=mlm", "data.processes=1"]
"""Of a pretraining run, but for its data."""

TEXT = ["data=text", "data.files=[corpus.txt]", "data.document_per=blank_line"]

FINETUNE = [*SHAPE, "task=classification", "trainer.epochs=2"]
"""Of a fine-tuning run, but for its examples."""

TABLES = ["data.files=[train.tsv]", "data.validation_files=[dev.tsv]"]


def documents(count: int) -> list[str]:
    """Sentences of a made-up language."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(150)]
    return [
        " ".join(" ".join(rng.choices(words, k=rng.randint(4, 9))).capitalize() + "." for _ in range(8)) for _ in range(count)
    ]


def write_texts(folder: Path) -> None:
    """The corpus and the examples that the command lines name."""
    texts = documents(100)
    (folder / "corpus.txt").write_text("\n\n".join(texts) + "\n")
    for name, count in (("train", 20), ("dev", 8)):
        rows = "".join(f"{text.split('.')[0]}\t{number % 2}\n" for number, text in enumerate(texts[-count:]))
        (folder / f"{name}.tsv").write_text(f"text\tlabel\n{rows}")
