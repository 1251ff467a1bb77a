"""All settings of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from plmtrain.families import MODEL_FAMILIES
from plmtrain.settings.base import Settings, Texts
from plmtrain.settings.data import DataSettings, TableSettings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.optimizer import OptimizerSettings, ScheduleSettings
from plmtrain.settings.scoring.base import ScoringSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.settings.taught_task import TaughtTaskSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.settings.trainer import TrainerSettings


class LaunchSettings(Settings):
    """How many processes train together on this machine."""

    processes: int = Field(1, gt=0, le=1024)
    timeout: float = Field(600.0, gt=0)
    """Seconds that a process waits for the others before the run fails."""


class TrackerSettings(Settings):
    """Trackers that receive metrics besides metrics.jsonl."""

    type: Literal["none", "tensorboard", "wandb"] = "none"
    project: str = "plmtrain"
    mode: Literal["offline", "online"] = "offline"
    """For wandb: nothing leaves the machine unless it is ``online``."""


class ResumeSettings(Settings):
    """Changes that a resume allows."""

    allow: Texts = ()
    """Keys that change the result and may differ from those that the run began with."""
    strict: bool = False
    """Whether a damaged checkpoint ends the command instead of being skipped for the one before."""


class RunSettings(Settings):
    """The settings of every run, whatever its data."""

    model: SerializeAsAny[ModelSettings]
    tokenizer: TokenizerSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings = ScheduleSettings()
    trainer: TrainerSettings = TrainerSettings()
    tracker: TrackerSettings = TrackerSettings()
    launch: LaunchSettings = LaunchSettings()
    resume: ResumeSettings = ResumeSettings()
    seed: int = Field(1, ge=0, lt=2**63)
    name: str | None = None
    """The run's folder below runs_dir; composed of the names of its parts and a hash of the settings if omitted."""
    runs_dir: str = "runs"
    init: str | None = None
    """A run or a Hugging Face folder whose backbone the run starts from."""
    teacher: str | None = None
    """A run or a Hugging Face folder whose model the run learns from: by an objective of distillation, or as one that was
    fine-tuned on the same task."""

    @property
    def subject(self) -> str:
        """The run's objective or task, for its name."""
        raise AssertionError("every kind of run defines its subject")

    @property
    def measure(self) -> str:
        """The measure of validation by which runs are judged."""
        return "loss"

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value of that measure is better."""
        return False

    @property
    def tokenizer_from(self) -> str | None:
        """The run or Hugging Face folder that the run takes its tokenizer from; None if it has one of its own."""
        return self.init or self.teacher

    @property
    def folders(self) -> dict[str, str]:
        """The folders whose weights the run reads, by the keys of the settings that name them."""
        return {key: folder for key, folder in (("init", self.init), ("teacher", self.teacher)) if folder is not None}


class PretrainSettings(RunSettings):
    """A pretraining run."""

    objective: SerializeAsAny[ObjectiveSettings]
    data: DataSettings

    @property
    def subject(self) -> str:
        return self.objective.name


class FinetuneSettings(RunSettings):
    """A fine-tuning run."""

    task: SerializeAsAny[TaskSettings]
    data: TableSettings = TableSettings()

    @field_validator("task")
    @classmethod
    def _of_the_model(cls, task: TaskSettings, info: ValidationInfo) -> TaskSettings:
        """Fill in what the model decides: from here on, the task alone says how it is answered."""
        family = MODEL_FAMILIES.get(getattr(info.data.get("model"), "family", ""))  # a model with errors has none
        return task if family is None else task.of_family(family)

    @property
    def subject(self) -> str:
        return self.task.name

    @property
    def measure(self) -> str:
        return self.task.selected

    @property
    def higher_is_better(self) -> bool:
        return self.measure not in self.task.lower_is_better

    @property
    def untaught(self) -> FinetuneSettings:
        """The same without a teacher: what a learner is evaluated with, whose answers are compared with the right ones alone."""
        if self.teacher is None or not isinstance(self.task, TaughtTaskSettings):
            return self
        task = self.task.model_copy(update=dict.fromkeys(self.task.of_teachers))
        return self.model_copy(update={"teacher": None, "task": task})


class EvaluationSettings(Settings):
    """The settings of ``plmtrain evaluate`` that are not the run's own."""

    scoring: SerializeAsAny[ScoringSettings]
