"""plmtrain's launcher, where Hydra looks for plugins: each job of a sweep is a process of its own.

Every Hydra application of the environment imports this file, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# ``hydra/launcher=plmtrain``; ``jobs`` run at the same time.
_CONFIG = {"_target_": "hydra_plugins.plmtrain_launcher.PlmtrainLauncher", "jobs": 1}
ConfigStore.instance().store(group="hydra/launcher", name="plmtrain", node=_CONFIG, provider="plmtrain")


class PlmtrainLauncher(Launcher):
    """Runs the jobs of a sweep as processes; one that fails harms no other."""

    def __init__(self, jobs: int = 1) -> None:
        self.jobs = jobs
        self.task: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.task = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from plmtrain.settings.composing.multirun import run_jobs

        return run_jobs(self.task, job_overrides, initial_job_idx, self.jobs)
