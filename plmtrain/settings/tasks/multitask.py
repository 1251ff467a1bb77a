"""Several tasks in one run, each of which is a text for a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from plmtrain.families import MODEL_FAMILIES
from plmtrain.settings.base import MOST, Settings, Texts, keys_of_members
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.settings.template import Template
from plmtrain.settings.written_texts import Metrics, WrittenTextsSettings, libraries_of

MemberName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]

AVERAGE = "average"
"""The measure of a run of several tasks: the average over tasks of the mean of a task's metrics."""


class MemberSettings(Settings):
    """One of several tasks."""

    files: Annotated[Texts, Field(min_length=1)]
    """Files, folders or globs with its examples."""
    validation_files: Texts = ()
    """Its held-out examples; a part of the files if omitted."""
    text: Annotated[Texts, Field(min_length=1)] = ("text",)
    """The columns that are read."""
    target: str = "target"
    """The column of the text that shall be written."""
    template: str | None = Field(None, max_length=2**16)
    """The row that is read, with columns in braces; the task's name, and each column's name with its text, if not given."""
    metrics: Metrics | None = None
    """Its metrics, in place of those of the run."""

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if self.target in self.text or len(set(self.text)) < len(self.text):
            raise ValueError("text and target must be different columns, each named once")
        if "loss" in (self.metrics or ()):
            raise ValueError("metrics has loss, which is measured over all tasks: name it in task.metrics, alone")
        _ = self.rows("")
        return self

    def rows(self, name: str) -> Template:
        """Return the template of its rows.

        Args:
            name: of the task.
        """
        return Template.usual(name, self.text) if self.template is None else Template.of(self.template, self.text)


def _by_name(values: dict[str, Any]) -> dict[str, Any]:
    """Sort by name, so that the order in which they were written changes neither the run nor its folder."""
    return dict(sorted(values.items()))


class MultitaskSettings(WrittenTextsSettings, TaskSettings):
    """Several tasks, whose examples are mixed in every step (Raffel et al. 2020, section 3.5.2)."""

    families: ClassVar[frozenset[str]] = frozenset(name for name, row in MODEL_FAMILIES.items() if row.kind == "encoder_decoder")
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"loss"})

    type: Literal["multitask"] = "multitask"
    tasks: Annotated[dict[MemberName, MemberSettings], AfterValidator(_by_name)]
    """The tasks by name."""
    size_limit: int | None = Field(None, gt=0, le=MOST)
    """The size from which on a larger task has no larger share, K; none if not given."""
    mixing_temperature: float = Field(1.0, gt=0)
    """Shares are raised to the power of one over it: 1 leaves them in proportion to the sizes, a high one makes them equal."""
    metrics: Metrics = ("exact_match",)
    """The metrics of tasks that name none of their own; the checkpoint with the best average is the run's result. With ``loss``
    alone nothing is written in validation, and the loss decides."""

    @model_validator(mode="after")
    def _several(self) -> Self:
        if len(self.tasks) < 2:
            named = "only " + next(iter(self.tasks)) if self.tasks else "nothing"
            raise ValueError(f"tasks names {named}: name two tasks, each with files, text and target")
        if self.from_hub:
            raise ValueError("hub and folder have no effect: each of the tasks names its own files")
        if self.metrics != ("loss",) and "loss" in self.metrics:
            raise ValueError("metrics has loss among others: name it alone, so that nothing is written in validation")
        if self.metrics == ("loss",) and (own := [name for name, task in self.tasks.items() if task.metrics]):
            raise ValueError(f"metrics is loss alone, so that nothing is written; {own[0]} names metrics of its own")
        return self

    @property
    def measured(self) -> dict[str, tuple[str, ...]]:
        """The metrics of each task that need its answers."""
        return {name: () if self.metrics == ("loss",) else task.metrics or self.metrics for name, task in self.tasks.items()}

    @property
    def selected(self) -> str:
        return "loss" if self.metrics == ("loss",) else AVERAGE

    @property
    def libraries(self) -> Mapping[str, str]:
        return {
            name: library for task in self.tasks.values() for name, library in libraries_of(task.metrics or self.metrics).items()
        }

    @property
    def names_files(self) -> bool:
        return True

    @classmethod
    def keys_within(cls, values: Any) -> Iterator[str]:
        """Yield the keys of each task."""
        yield from keys_of_members(values, "tasks", MemberSettings)
