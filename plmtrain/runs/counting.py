"""From epochs to steps: the one place where a run whose rows are counted learns how long it is."""

from __future__ import annotations

from typing import TypeVar

from plmtrain.data.loading.order import with_steps
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.settings.rules import broken_rules
from plmtrain.settings.run import RunSettings

RunT = TypeVar("RunT", bound=RunSettings)


def counted(settings: RunT, rows: int) -> RunT:
    """The settings with the number of steps filled in where they give epochs.

    Args:
        settings: the run's.
        rows: in an epoch.

    Raises:
        SettingsErrors: if the schedule does not fit into so many steps.
    """
    if settings.trainer.epochs is None:
        return settings
    trainer = with_steps(settings.trainer, rows)
    length = f"{trainer.epochs:g} epochs of {rows:,} rows are {trainer.steps:,} steps"
    judged = {"schedule": settings.schedule, "trainer": trainer.model_copy(update={"epochs": None})}
    if errors := [SettingsError(what, f"{key}; {length}", remedy) for key, what, remedy in broken_rules(judged)]:
        raise SettingsErrors(errors)
    return settings.model_copy(update={"trainer": trainer})
