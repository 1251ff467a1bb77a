"""The labelled examples of a fine-tuning run: read, encoded, and described."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmtrain.console import counted
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.splits import Split
from plmtrain.data.tables.labelled import Examples, Rows, gather, gather_members, rows_of_files
from plmtrain.data.tables.reader import Finding, Reader
from plmtrain.data.tables.readers import reader_of
from plmtrain.errors import DataError
from plmtrain.files import make_folder, write_json_atomically, write_text_atomically
from plmtrain.json_files import read_object
from plmtrain.runs.demonstration import table_of
from plmtrain.runs.held_out_files import missing_pictures, write_review
from plmtrain.runs.material import Material, require_libraries, require_tokens, with_counted_steps
from plmtrain.settings.data import TableSettings
from plmtrain.settings.run import FinetuneSettings
from plmtrain.text.extension import with_added_tokens
from plmtrain.text.readers import Skips
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.training.run_folder import HELD_OUT, RunFolder

if TYPE_CHECKING:
    from rich.console import RenderableType

    from plmtrain.data.loading.order import Phase
    from plmtrain.data.tables.examples import ExampleSource
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import Trainable
    from plmtrain.programs.task import TaskAnswering
    from plmtrain.training.group import Group

PREDICTIONS = "predictions.jsonl"

_NAMED = 5
"""The most places in a message."""
_SAMPLED = 2000
"""The texts in which changed letters are counted."""


class LabelledExamples(Material):
    """The examples of a fine-tuning run, encoded.

    Args:
        settings: the run's settings, with what the data say and with the steps filled in.
        tokenizer: that of what the run starts from, or one trained on the examples.
        examples: as the task's reader read them.
    """

    settings: FinetuneSettings

    def __init__(self, settings: FinetuneSettings, tokenizer: Tokenizer, examples: Examples) -> None:
        super().__init__(settings, tokenizer, examples.digest())
        self.examples = examples
        self._encoded = {split: examples.reader.encode(some, tokenizer) for split, some in examples.splits.items()}
        self._answers: list[dict[str, Any]] = []
        self._answering: TaskAnswering[Any] | None = None
        self._untold: list[str] = []

    @classmethod
    def of(cls, settings: FinetuneSettings, on_update: OnUpdate) -> LabelledExamples:
        """Read the examples, and train a tokenizer on them where there is none yet."""
        require_libraries(settings.task)
        examples = _examples(settings)
        tokenizer = _tokenizer(settings, examples, on_update)
        require_tokens(settings, tokenizer)
        settings = settings.model_copy(update={"task": examples.reader.task})
        material = cls(settings, tokenizer, examples)
        if settings.trainer.epochs is not None:
            (phase,) = plan_phases(settings.trainer)
            (program,) = material.programs([phase])
            material.settings = with_counted_steps(settings, len(material.rows("train", program, phase)))
        return material

    @classmethod
    def held_out(cls, settings: FinetuneSettings, on_update: OnUpdate) -> LabelledExamples:
        """Read held-out examples alone; the settings are those of a run, with what its data said and with its tokenizer."""
        require_libraries(settings.task)
        examples = _examples(settings, only="validation")
        return cls(settings, _tokenizer(settings, examples, on_update), examples)

    def sample(self) -> Iterable[str]:
        reader = self.examples.reader
        return islice((text for example in self.examples.splits["train"] for text in reader.vocabulary_texts(example)), _SAMPLED)

    def programs(self, phases: Sequence[Phase]) -> list[Trainable]:
        from plmtrain import tasks

        task, model, vocabulary = self.settings.task, self.settings.model, self.tokenizer.vocabulary
        return [tasks.build(task, model, vocabulary, phase.sequence_length) for phase in phases]

    def rows(self, split: Split, program: Trainable, phase: Phase) -> ExampleSource:
        rows = self._encoded[split].rows(program.parts.main.program.row_shape(phase.sequence_length).length)
        return self.examples.reader.mixed(rows, self.examples.splits["train"]) if split == "train" else rows

    def keep(self, folder: Path) -> None:
        write_json_atomically(make_folder(folder / "data") / "manifest.json", self._described())

    def changes(self, folder: Path) -> list[str]:
        now = self._described()
        try:
            before = read_object(folder / "data" / "manifest.json")["sources"]
            before = {split: dict(before.get(split, {})) for split in now["sources"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ["the record of the run's examples is missing or damaged"]
        return [
            f"{source} has other examples" if source in before[split] else f"{source} is new"
            for split, sources in now["sources"].items()
            for source, digest in sources.items()
            if before[split].get(source) != digest
        ] or ["the examples are divided otherwise"]

    def _described(self) -> dict[str, Any]:
        examples = self.examples
        return {
            "digest": self.digest,
            "tokenizer": self.tokenizer.digest,
            "held_out": self.examples.held_out_digest(),
            **examples.reader.facts(examples.splits),
            "examples": {split: len(some) for split, some in examples.splits.items()},
            "skipped": examples.skips.count,
            "sources": examples.sources,
        }

    def opening(self) -> str:
        examples, trainer = self.examples, self.settings.trainer
        counts = {split: len(some) for split, some in examples.splits.items()}
        (phase,) = plan_phases(trainer)
        (program,) = self.programs([phase])
        rows = len(self.rows("train", program, phase))  # more than the examples where long ones have several
        start = "" if self.settings.init else "without init=, from random weights; "
        skipped = f"; {examples.skips.count} rows skipped, first {examples.skips.first[0]}" if examples.skips.count else ""
        cut = self._encoded["train"].cutting(trainer.sequence_length)
        return (
            f"{start}{counts['train']:,} training examples, {counts['validation']:,} held out{skipped}\n"
            f"{examples.reader.opening(examples.splits)}; {cut}\n"
            f"{counted(trainer.steps, 'step')} of {counted(trainer.batch_size, 'example' if rows == counts['train'] else 'row')} "
            f"({trainer.steps * trainer.batch_size / rows:.2f} epochs)"
            + "".join(f"\n{line}" for line in (*self.repetitions(), *(finding.what for finding in self.findings())))
        )

    def repetitions(self) -> list[str]:
        train, held_out = (self.examples.splits[split] for split in ("train", "validation"))
        answers = {example.texts: example.reference for example in train}
        contradicted = sum(answers[example.texts] != example.reference for example in train)
        told = []
        if repeated := len(train) - len(answers):
            known = f", {contradicted:,} of them with {self.examples.reader.another}" if contradicted else ""
            told.append(f"{repeated:,} of {len(train):,} training examples repeat another one's text{known}")
        if seen := sum(example.texts in answers for example in held_out):
            told.append(f"{seen:,} of {len(held_out):,} held-out examples are in the training ones, too")
        return told

    def findings(self) -> list[Finding]:
        """Return what of the examples may not be as the user thinks."""
        return [*self._without_text(), *self.examples.reader.findings(self.examples.splits)]

    def _without_text(self) -> Iterator[Finding]:
        if empty := self.examples.empty:
            what = (
                f"{counted(len(empty), 'example')} {'has' if len(empty) == 1 else 'have'} an empty text, the first in {empty[0]}"
            )
            yield Finding(what, ", ".join(empty[:_NAMED]), "correct or remove such rows: there is nothing to read in them")

    def conclude(self, program: Trainable, learner: Learner, phase: Phase, group: Group, folder: Path) -> None:
        """Answer the held-out examples with the best checkpoint."""
        from plmtrain.training.precision import choose_precision
        from plmtrain.training.prediction import by_example, predict_all

        rows, answering = self.rows("validation", program, phase), _answering(program)
        precision = choose_precision(self.settings.trainer.precision, group.device)
        answers = predict_all(
            answering,
            learner.to(group.device),
            rows,
            group,
            batch_size=phase.batch_size,
            micro_batch_size=phase.micro_batch_size,
            precision=precision,
        )
        answers = by_example(answering, answers, rows.owners)
        if group.is_main:
            if tuned := answering.tuned(answers, rows.references):
                write_json_atomically(RunFolder(folder).tuned_path, tuned)
                answering = _answering(self._tuned(program, tuned, phase))
            held_out, reader = self.examples.splits["validation"], self.examples.reader
            lines = [
                {**reader.line(example), **answering.written(example, answer)}
                for example, answer in zip(held_out, answers, strict=True)
            ]
            write_text_atomically(folder / PREDICTIONS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            review = answering.review(self.examples, answers)
            write_review(make_folder(folder / HELD_OUT), review, len(held_out))
            self._answering, self._answers, self._untold = answering, answers, missing_pictures(review)

    def _tuned(self, program: Trainable, tuned: Mapping[str, Any], phase: Phase) -> Trainable:
        """Return the program with some settings of the task that were tuned on its held-out answers."""
        from plmtrain import tasks

        task = self.settings.task.model_copy(update=dict(tuned))
        return tasks.build(task, self.settings.model, program.vocabulary, phase.sequence_length)

    def closing(
        self, program: Trainable, learner: Learner, best: float | None, measured: Mapping[str, float]
    ) -> list[RenderableType]:
        assert self._answering is not None, "conclude comes first"
        parts = [*self._answering.closing(self.examples, self._answers, best), *self._untold]
        return [part if isinstance(part, str) else table_of(part) for part in parts]


def _answering(program: Trainable) -> TaskAnswering[Any]:
    from plmtrain.programs.task import TaskProgram

    task = program.parts.main.program
    assert isinstance(task, TaskProgram)
    return task.answering


def _examples(settings: FinetuneSettings, only: Split | None = None) -> Examples:
    reader, data, skips = reader_of(settings.task), settings.data, Skips()
    if members := reader.members(data):
        return gather_members(reader, members, skips, only=only)
    if data.files or data.validation_files:
        return gather(reader, data, rows_of_files(reader, data, skips), skips, only=only)
    reader, rows = _of_dataset(reader, data, skips, ("train", "validation") if only is None else (only,))
    return gather(reader, data, rows, skips, only=only)


def _of_dataset(
    reader: Reader[Any, Any], data: TableSettings, skips: Skips, splits: Sequence[Split]
) -> tuple[Reader[Any, Any], Rows]:
    """The reader that knows what a dataset says of its columns, and the dataset's rows of some splits."""
    from plmtrain.interop.hub import dataset_of

    task = reader.task
    own: dict[Split, str] = {"train": task.train_split, "validation": task.validation_split}
    if own["train"] == own["validation"]:
        splits = ("train",)  # of which a part is held out
    datasets = {split: dataset_of(task, own[split], data, skips) for split in splits}
    first = datasets[splits[0]]
    names = {column: first.labels(column) for column in reader.columns}
    return reader.informed(names), lambda split: [
        (dataset.name, dataset.read(reader.columns)) for dataset in [datasets.get(split)] if dataset is not None
    ]


def _tokenizer(settings: FinetuneSettings, examples: Examples, on_update: OnUpdate) -> Tokenizer:
    """The tokenizer of a run, with the tokens that fine-tuning adds to it."""
    given = _given_tokenizer(settings, examples, on_update)
    return with_added_tokens(given, settings.model.published.tokens, settings.task.added_tokens)


def _given_tokenizer(settings: FinetuneSettings, examples: Examples, on_update: OnUpdate) -> Tokenizer:
    """The tokenizer that is named, that of what the run starts from or learns from, or one trained on the training examples."""
    if settings.tokenizer.path is not None:
        return Tokenizer.load(settings.tokenizer.path)
    if settings.tokenizer_from is not None:
        from plmtrain.training.restore import tokenizer_folder

        return Tokenizer.load(tokenizer_folder(Path(settings.tokenizer_from)))
    from plmtrain.data.corpus.trained_tokenizers import tokenizer_on

    reader = examples.reader
    texts = [text for example in examples.splits["train"] for text in reader.vocabulary_texts(example) if text.strip()]
    if not texts:
        raise DataError("there is no text in the examples", "task.text", "name the columns that have the texts")
    return tokenizer_on(texts, settings.data.prepared_dir, settings.tokenizer, on_update)
