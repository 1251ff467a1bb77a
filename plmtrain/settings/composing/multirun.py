"""A sweep through Hydra: Hydra's sweepers create the jobs, and plmtrain's launcher runs them unless another one is chosen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from plmtrain.errors import PlmtrainError, SettingsError
from plmtrain.settings.composing.merging import hydra_at_work, search_path
from plmtrain.settings.composing.overrides import Checked, quoted

Job = Callable[[Sequence[str], int], float]
"""Runs a job, given its overrides and its number, and returns the value that a sweeper minimises."""


@dataclass(frozen=True)
class Task:
    """A job in the form that Hydra's launchers call. Some of them send it to other processes, so it only holds plain values."""

    job: Job

    def __call__(self, config: DictConfig) -> float:
        hydra = HydraConfig.get()
        return self.job(_plain(hydra.overrides.task), int(hydra.job.num))


def _plain(overrides: Sequence[str]) -> list[str]:
    """Return a job's overrides as the user would write them."""
    return [text.removeprefix("++") for text in overrides if not text.startswith(("hydra.", "hydra/"))]


def run_jobs(task: Task, job_overrides: Sequence[Sequence[str]], first: int, jobs: int) -> list[JobReturn]:
    """Run jobs, several at a time. None of them raises: each one's outcome is in its own record."""
    if not isinstance(task, Task):
        raise SettingsError("hydra/launcher=plmtrain only runs plmtrain's jobs", "hydra/launcher", "use another launcher")
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        numbered = [(_plain(overrides), first + index) for index, overrides in enumerate(job_overrides)]
        values = list(pool.map(lambda numbered_job: task.job(*numbered_job), numbered))
    return [
        JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=value)
        for (overrides, _), value in zip(numbered, values, strict=True)
    ]


def run_sweep(checked: Checked, config_dir: str | None, folder: Path, job: Job, primary: str) -> None:
    """Run a sweep with Hydra.

    Args:
        checked: the overrides.
        config_dir: the folder of ``--config-dir``.
        folder: for the files of other launchers.
        job: runs one job.
        primary: the kind of run.

    Raises:
        SettingsError: if Hydra cannot create the jobs.
    """
    groups = [
        f"{group}={'null' if choice is None else quoted(choice)}"
        for group, choice in checked.groups.items()
        if group not in checked.swept
    ]
    values = [text if key in checked.groups else f"++{text}" for key, text in checked.values]
    ours = [] if any(text.startswith("hydra/launcher=") for text in checked.hydra) else ["hydra/launcher=plmtrain"]
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
    place = [f"hydra.sweep.dir={quoted(str(folder))}", "hydra.sweep.subdir=."]
    overrides = [*search_path(config_dir), *ours, *quiet, *place, *checked.hydra, *groups, *values]
    with hydra_at_work():
        hydra = GlobalHydra.instance().hydra  # used after the ``with``, since its jobs compose settings too
    assert hydra is not None
    try:
        hydra.multirun(primary, Task(job), overrides, with_log_configuration=False)
    except PlmtrainError:
        raise
    except Exception as error:
        where = f"command line: {' '.join(checked.hydra) or '-m'}"
        remedy = "the launchers submitit and joblib need plmtrain[launchers]; other launchers and sweepers need their own plugins"
        raise SettingsError(f"the sweep cannot be run ({type(error).__name__})", where, remedy) from error
    finally:
        # Hydra writes the whole command line there, which may contain a secret that should not be published.
        with contextlib.suppress(OSError):
            (folder / "multirun.yaml").unlink()
