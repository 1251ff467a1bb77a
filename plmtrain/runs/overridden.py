"""Settings of a trained run that a later command overrides."""

from __future__ import annotations

from collections.abc import Collection

from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.settings.identity import drift
from plmtrain.settings.run import RunSettings


def require_meaning(trained: RunSettings, wanted: RunSettings, groups: Collection[str], keys: Collection[str]) -> None:
    """Refuse overrides that an evaluation does not read, or that do not fit the run's weights.

    Args:
        trained: the run's settings.
        wanted: the same with overrides.
        groups: the groups of settings that it reads.
        keys: single settings of other groups that it reads.

    Raises:
        SettingsErrors: for each such setting.
    """
    changed = drift(trained.model_dump(mode="json"), wanted.model_dump(mode="json"))
    fitting = (*changed.free, *changed.trajectory)
    idle = [change for change in fitting if change.key.partition(".")[0] not in groups and change.key not in keys]
    if errors := [
        SettingsError(
            f"{change.key} has no effect on a trained run",
            f"command line: {change}",
            f"omit it: an evaluation reads {', '.join((*groups, *sorted(keys)))}",
        )
        for change in (*changed.structural, *idle)
    ]:
        raise SettingsErrors(errors)
