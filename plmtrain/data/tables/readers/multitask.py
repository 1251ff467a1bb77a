"""Reading several tasks, each from files of its own, and mixing their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plmtrain.data.tables.member_tasks import MemberReader, TargetReader, TaskTarget
from plmtrain.data.tables.mixed import MixedExamples, mixing_rates
from plmtrain.data.tables.reader import Example, Member
from plmtrain.data.tables.table_files import Row
from plmtrain.data.tables.texts import as_object
from plmtrain.errors import DataError, nearest

if TYPE_CHECKING:
    from plmtrain.data.tables.examples import ExampleSource
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.settings.data import TableSettings


class MultitaskReader(TargetReader):
    """Reads the examples of several tasks."""

    @cached_property
    def _readers(self) -> Mapping[str, MemberReader]:
        return {name: MemberReader(self.task, name) for name in self.task.tasks}

    def members(self, data: TableSettings) -> Mapping[str, Member]:
        return {
            name: Member(
                reader,
                data.model_copy(update={"files": reader.own.files, "validation_files": reader.own.validation_files}),
                f"task.tasks.{name}",
            )
            for name, reader in self._readers.items()
        }

    def mixed(self, rows: ExampleSource, train: Sequence[Example[TaskTarget]]) -> MixedExamples:
        sizes = list(self._counts(train).values())
        return MixedExamples(rows, sizes, mixing_rates(sizes, self.task.size_limit, self.task.mixing_temperature))

    def _counts(self, examples: Sequence[Example[TaskTarget]]) -> dict[str, int]:
        """Count the examples of each task."""
        counts = Counter(example.reference.task for example in examples if example.reference is not None)
        return {name: counts[name] for name in self.task.tasks}

    @property
    def columns(self) -> Mapping[str, str]:
        return {"text": "the column of a row with its task's name, as in task.tasks.NAME.template"}

    def example(self, row: Row) -> Example[TaskTarget]:
        raise AssertionError("the examples of each task are read by its own reader")

    def question(self, text: str) -> Example[TaskTarget]:
        """Read a row as the model reads it, or a JSON object with ``text``, or with ``task`` and the columns of that task."""
        if (cells := as_object(text)) is None:
            return Example((text,), None)
        row, shown = Row(f"'{text[:60]}'", cells), f"'{text[:60]}'"
        if "text" in cells and "task" not in cells:
            return Example((row.text("text"),), None)
        name = str(cells.get("task"))
        if (reader := self._readers.get(name)) is None:
            raise DataError(f"there is no task '{name[:60]}' in this JSON object", shown, nearest(name, self._readers))
        if missing := [column for column in reader.own.text if column not in cells]:
            what = f"there is no '{missing[0]}' in this JSON object; it has: {', '.join(cells)}"
            raise DataError(what, shown, f"task {name} reads {', '.join(reader.own.text)}")
        return Example((reader.filled(row),), None)

    def opening(self, splits: Splits) -> str:
        sizes = self._counts(splits["train"])
        rates = mixing_rates(list(sizes.values()), self.task.size_limit, self.task.mixing_temperature).tolist()
        told = [f"{name} {size:,} ({rate:.1%} of the rows)" for (name, size), rate in zip(sizes.items(), rates, strict=True)]
        return f"tasks: {', '.join(told)}"

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"tasks": {split: self._counts(examples) for split, examples in splits.items()}}
