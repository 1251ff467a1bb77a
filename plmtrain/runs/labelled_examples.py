"""The labelled examples of a fine-tuning run: read, encoded, and described."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plmtrain.data.corpus.updates import Report
from plmtrain.data.tables.examples import EncodedExamples, Texts
from plmtrain.data.tables.labelled import Examples, Rows, Split, gather, rows_of_files
from plmtrain.errors import DataError
from plmtrain.files import make_folder, write_json_atomically, write_text_atomically
from plmtrain.runs.counting import counted
from plmtrain.runs.material import Material
from plmtrain.settings.run import FinetuneSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.text.readers import Skips
from plmtrain.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from plmtrain.data.loading.order import Phase
    from plmtrain.data.rows.rows import RowSource
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import Trainable
    from plmtrain.training.group import Group

PREDICTIONS = "predictions.jsonl"


class LabelledExamples(Material):
    """The examples of a fine-tuning run, encoded.

    Args:
        settings: the run's settings, labels and steps filled in.
        tokenizer: that of what the run starts from, or one trained on the examples.
        examples: texts and labels.
    """

    settings: FinetuneSettings

    def __init__(self, settings: FinetuneSettings, tokenizer: Tokenizer, examples: Examples) -> None:
        super().__init__(settings, tokenizer, examples.digest())
        self.examples = examples
        self._encoded = {split: _encode(examples, split, tokenizer) for split in examples.splits}
        self._outcome: list[str] = []

    @classmethod
    def of(cls, settings: FinetuneSettings, report: Report) -> LabelledExamples:
        """Read the examples, and train a tokenizer on them where there is none yet."""
        examples = _examples(settings)
        tokenizer = _tokenizer(settings, examples, report)
        task = settings.task.model_copy(update={"labels": examples.labels})
        settings = counted(settings.model_copy(update={"task": task}), len(examples.splits["train"]))
        return cls(settings, tokenizer, examples)

    @classmethod
    def held_out(cls, settings: FinetuneSettings, report: Report) -> LabelledExamples:
        """Read held-out examples alone; the settings are those of a run, with its labels and its tokenizer."""
        examples = _examples(settings, only="validation")
        return cls(settings, _tokenizer(settings, examples, report), examples)

    def programs(self, phases: Sequence[Phase]) -> list[Trainable]:
        from plmtrain import tasks

        task, model, vocabulary = self.settings.task, self.settings.model, self.tokenizer.vocabulary
        return [tasks.build(task, model, vocabulary, phase.sequence_length) for phase in phases]

    def rows(self, split: Split, program: Trainable, phase: Phase) -> RowSource:
        return EncodedExamples(*self._encoded[split], most=program.parts.main.program.row_shape(phase.sequence_length).length)

    def keep(self, folder: Path) -> None:
        write_json_atomically(make_folder(folder / "data") / "manifest.json", self._described())

    def changes(self, folder: Path) -> list[str]:
        before = json.loads((folder / "data" / "manifest.json").read_text("utf-8"))
        now = self._described()
        return [
            f"{source} has other examples" if source in before["sources"].get(split, {}) else f"{source} is new"
            for split, sources in now["sources"].items()
            for source, digest in sources.items()
            if before["sources"].get(split, {}).get(source) != digest
        ] or ["the examples are divided otherwise"]

    def _described(self) -> dict[str, Any]:
        examples = self.examples
        return {
            "digest": self.digest,
            "labels": list(examples.labels),
            "examples": {split: len(found) for split, found in examples.splits.items()},
            "skipped": examples.skips.count,
            "sources": examples.sources,
        }

    def opening(self) -> str:
        examples, trainer = self.examples, self.settings.trainer
        counts = {split: len(found) for split, found in examples.splits.items()}
        start = f"starting from {self.settings.init}" if self.settings.init else "without init=, from random weights"
        skipped = f"; {examples.skips.count} rows skipped, first {examples.skips.first[0]}" if examples.skips.count else ""
        cut = self._cut_share(trainer.sequence_length)
        return (
            f"{start}; {counts['train']:,} training examples, {counts['validation']:,} held out{skipped}\n"
            f"labels: {', '.join(examples.labels)}; {cut:.1%} of the texts are cut to fit {trainer.sequence_length} tokens\n"
            f"{trainer.steps:,} steps of {trainer.batch_size} examples "
            f"({trainer.steps * trainer.batch_size / counts['train']:.2f} epochs)"
            + "".join(f"\n{line}" for line in self.repetitions())
        )

    def repetitions(self) -> list[str]:
        train, held_out = (self.examples.splits[split] for split in ("train", "validation"))
        labels = dict(zip(train.texts, train.labels, strict=True))
        contradicted = sum(labels[texts] != label for texts, label in zip(train.texts, train.labels, strict=True))
        found = []
        if repeated := len(train) - len(labels):
            known = f", {contradicted:,} of them with another label" if contradicted else ""
            found.append(f"{repeated:,} of {len(train):,} training examples repeat another one's text{known}")
        if seen := sum(texts in labels for texts in held_out.texts):
            found.append(f"{seen:,} of {len(held_out):,} held-out examples are in the training ones, too")
        return found

    def _cut_share(self, length: int) -> float:
        """Which share of the training examples is longer than a row, by a little where special tokens are more than two."""
        texts, _ = self._encoded["train"]
        lengths = sum(np.diff(part.starts) for part in texts)
        return float(np.mean(lengths + 1 + len(texts) > length))

    def conclude(self, program: Trainable, learner: Learner, phase: Phase, group: Group, folder: Path) -> None:
        """Answer the held-out examples with the best checkpoint."""
        from plmtrain.training.precision import choose
        from plmtrain.training.prediction import predict_all

        rows = self.rows("validation", program, phase)
        answering = program.parts.main.program.answering
        assert answering is not None
        precision = choose(self.settings.trainer.precision, group.device)
        answers = predict_all(answering, learner, rows, group, batch_size=phase.batch_size, precision=precision)
        if group.is_main:
            held_out = self.examples.splits["validation"]
            task = self.settings.task
            assert isinstance(task, ClassificationSettings)
            lines = [
                {
                    **dict(zip(task.text, texts, strict=True)),
                    "expected": label,
                    **{k: v for k, v in answer.items() if k != "sample"},
                }
                for texts, label, answer in zip(held_out.texts, held_out.labels, answers, strict=True)
            ]
            write_text_atomically(folder / PREDICTIONS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            self._outcome = [answer["label"] for answer in answers]

    def closing(
        self, program: Trainable, learner: Learner, best: float | None, measured: Mapping[str, float]
    ) -> list[RenderableType]:
        from rich.table import Table

        held_out = self.examples.splits["validation"]
        labels = self.examples.labels
        table = Table("expected", *labels, "of them right", title="held-out examples by label", title_justify="left")
        for expected in labels:
            given = [answer for answer, label in zip(self._outcome, held_out.labels, strict=True) if label == expected]
            right = f"{given.count(expected) / len(given):.1%}" if given else ""
            table.add_row(expected, *(f"{given.count(label):,}" for label in labels), right)
        shown: list[RenderableType] = [table] if len(labels) <= 10 else []
        commonest = max(held_out.labels.count(label) for label in labels) / len(held_out)
        if best is not None:
            measure = program.selection.measure
            shown.append(f"best validation {measure} {best:.4f}; the commonest label alone is {commonest:.1%} of the examples")
        return shown


def _encode(examples: Examples, split: Split, tokenizer: Tokenizer) -> tuple[list[Texts], np.ndarray[Any, Any]]:
    columns = zip(*examples.splits[split].texts, strict=True)
    return [Texts.encode(column, tokenizer) for column in columns], np.array(examples.numbers(split), np.int64)


def _examples(settings: FinetuneSettings, only: Split | None = None) -> Examples:
    task, skips = settings.task, Skips()
    assert isinstance(task, ClassificationSettings)
    if settings.data.files or settings.data.validation_files:
        return gather(task, settings.data, rows_of_files(task, settings.data, skips), skips, only=only)
    rows, names = _rows_of_dataset(task, ("train", "validation") if only is None else (only,))
    return gather(task, settings.data, rows, skips, names, only=only)


def _rows_of_dataset(task: ClassificationSettings, splits: Sequence[Split]) -> tuple[Rows, tuple[str, ...]]:
    """The rows of some splits of a dataset, and the names of its labels."""
    from plmtrain.interop.hub import Dataset

    own = {"train": task.train_split, "validation": task.validation_split}
    datasets = {split: Dataset(task, own[split]) for split in splits}
    columns = {**dict.fromkeys(task.text, "task.text"), task.label: "task.label"}
    return lambda split: [(datasets[split].name, datasets[split].read(columns))], datasets[splits[0]].labels(task.label)


def _tokenizer(settings: FinetuneSettings, examples: Examples, report: Report) -> Tokenizer:
    """The tokenizer that is named, that of what the run starts from, or one trained on the training examples."""
    if settings.tokenizer.path is not None:
        return Tokenizer.load(settings.tokenizer.path)
    if settings.init is not None:
        from plmtrain.training.restore import tokenizer_folder

        return Tokenizer.load(tokenizer_folder(Path(settings.init)))
    from plmtrain.data.corpus.trained_tokenizers import tokenizer_on

    texts = [text for pair in examples.splits["train"].texts for text in pair if text.strip()]
    if not texts:
        raise DataError("there is no text in the examples", "task.text", "name the columns that have the texts")
    return tokenizer_on(texts, settings.data.prepared_dir, settings.tokenizer, report)
