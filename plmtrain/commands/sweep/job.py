"""One job of a sweep: its run's name, its process, and its record."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plmtrain import child_processes, limits, stopping
from plmtrain.console import warn
from plmtrain.errors import Stopped, understood
from plmtrain.files import read_bytes
from plmtrain.redaction import redact, redact_text
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.lifecycle import weights_digests
from plmtrain.settings.decode import completed
from plmtrain.settings.identity import drift, kind_of, run_name
from plmtrain.settings.run import RunSettings
from plmtrain.study.job_outcome import with_outcome
from plmtrain.study.sweep_record import Record, read_records
from plmtrain.training.run_folder import RunFolder

PLMTRAIN = (sys.executable, "-m", "plmtrain")
"""The command that starts a job's process."""

_running: dict[int, subprocess.Popen[bytes]] = {}
_stopped_by: int | None = None


def stop(number: int) -> None:
    """Start no further job, and forward a signal to those that run. A signal handler calls this, so it takes no lock."""
    global _stopped_by
    _stopped_by = number
    for process in list(_running.values()):
        process.send_signal(number)


def stopped_by() -> int | None:
    """Return the signal that stopped the sweep, if there was one."""
    return _stopped_by


@dataclass(frozen=True)
class SweepJob:
    """Runs the jobs of one sweep. Some launchers send it to other processes, so it only holds plain values.

    Args:
        folder: the sweep's folder.
        swept: the keys with several values, in order.
        file: the file of settings on the command line.
        config_dir: the folder of ``--config-dir``.
        total: the number of jobs, if known beforehand.
        jobs: how many run at the same time.
        verb: the verb that runs a job.
    """

    folder: str
    swept: tuple[str, ...]
    file: str | None = None
    config_dir: str | None = None
    total: int | None = None
    jobs: int = 1
    verb: str = "pretrain"

    def __call__(self, overrides: Sequence[str], number: int) -> float:
        """Run a job, unless it is finished.

        Returns:
            the value by which it is judged, negative where a higher one is better, for sweepers that search; infinite if there is
            none.
        """
        values = {key: value for key, _, value in (text.partition("=") for text in overrides) if key in self.swept}
        digest = hashlib.sha256(json.dumps(sorted(overrides)).encode()).hexdigest()[:8]
        place = Path(self.folder) / "jobs"
        place.mkdir(parents=True, exist_ok=True)
        log = place / f"{digest}.log"
        record = Record(number, values)
        if _stopped_by is not None:
            record = replace(record, reason="the sweep was stopped before it began")
        else:
            try:
                record = self._run(record, list(overrides), place / f"{digest}.json", log)
            except Exception as error:  # a failing job must not affect the others
                problem = understood(error)
                whole = str(problem) if problem is not None else "".join(traceback.format_exception(error))
                log.write_text(redact_text(f"{whole}\n"), encoding="utf-8")
                code, reason = (1, repr(error)) if problem is None else (problem.exit_code, str(problem))
                record = replace(record, state="failed", exit_code=code, reason=redact_text(reason.partition("\n")[0]))
        record.write(place / f"{digest}.json")
        self._print(record, log)
        if record.value is None:
            return math.inf
        return -record.value if record.higher else record.value

    def _run(self, record: Record, overrides: list[str], path: Path, log: Path) -> Record:
        if self.file is not None:
            overrides = [self.file, *overrides]
        settings = settings_for(self.verb, overrides, self.config_dir)
        name = self._name(settings, record.values)
        if name is not None:
            overrides = [text for text in overrides if not text.startswith("name=")] + [f"name={json.dumps(name)}"]
            settings = settings.model_copy(update={"name": name})
        run = RunFolder.below(settings.runs_dir, run_name(settings, weights_digests(settings)))
        record = replace(record, run=str(run.path))
        if _is_finished(run, settings):
            before = next((earlier.seconds for earlier in read_records(path.parent) if earlier.run == record.run), 0.0)
            return with_outcome(replace(record, state="finished", exit_code=0, seconds=before))
        if self.jobs > 1 and settings.trainer.threads is None:
            # Jobs that run in parallel share the cores; each would take them all.
            overrides.append(f"trainer.threads={max(1, limits.cores() // self.jobs)}")
        replace(record, state="running").write(path)
        started = time.monotonic()
        code = self._process(overrides, log)
        status = run.status()
        states = {0: "finished", Stopped.exit_code: "stopped"}
        reason = "" if code == 0 else str(status.get("reason") or "") or _last_words(log)
        if code < 0:
            code, reason = 1, f"killed by signal {-code}"
        return with_outcome(
            replace(
                record,
                state=states.get(code, "failed"),
                exit_code=code,
                reason=redact_text(reason.partition("\n")[0]),
                seconds=time.monotonic() - started,
            )
        )

    def _process(self, overrides: Sequence[str], log: Path) -> int:
        """Run the job's process to its end."""
        command = [*PLMTRAIN, self.verb, *overrides]
        if self.config_dir is not None:
            command += ["--config-dir", self.config_dir]
        with log.open("wb") as file:
            # It has its own session: Ctrl-C reaches only the sweep, which forwards it once.
            with stopping.held():
                process = subprocess.Popen(
                    command,
                    env=child_processes.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
            _running[process.pid] = process
            try:
                if _stopped_by is not None:
                    process.send_signal(_stopped_by)  # the stop came between the last check and the start
                return process.wait()
            finally:
                del _running[process.pid]

    def _name(self, settings: RunSettings, values: Mapping[str, str]) -> str | None:
        """Return the name that the job's run must get so that no two jobs share a folder; None if its own name is unique."""
        if "name" in values:
            return None
        if settings.name is not None:
            base, distinguishing = settings.name, list(values)
        else:
            # A name made from the settings does not distinguish settings that leave the result unchanged.
            base, distinguishing = (
                run_name(settings, weights_digests(settings)),
                [key for key in values if kind_of(key) == "free"],
            )
        if not distinguishing:
            return None
        last = [key.rpartition(".")[2] for key in distinguishing]
        short = {key: ending if last.count(ending) == 1 else key for key, ending in zip(distinguishing, last, strict=True)}
        return "-".join([base, *(f"{short[key]}={values[key]}" for key in distinguishing)])

    def _print(self, record: Record, log: Path) -> None:
        total = f"/{self.total}" if self.total else ""
        values = " ".join(f"{key}={value}" for key, value in redact(dict(record.values)).items())
        end = record.state if record.state != "waiting" else "not begun"
        if record.state == "finished":
            end = f"finished, {_shown(record)}"
        if record.state == "failed":
            end = f"failed with exit code {record.exit_code}: {record.reason} ({log})"
        warn(f"[{record.number}{total}] {values}: {end}")


def _shown(record: Record) -> str:
    keys = dict.fromkeys(("loss", "val/loss", record.measure))
    told = ", ".join(f"{key} {record.metrics[key]:.4f}" for key in keys if key in record.metrics)
    return f"{told or 'nothing measured'}{', collapsed' if record.collapsed else ''}"


def _is_finished(run: RunFolder, settings: RunSettings) -> bool:
    """Return whether a run is finished, with these settings."""
    status = run.status()
    if status.get("state") != "finished" or status.get("exit_code") not in (0, None) or not run.exists:
        return False
    changes = drift(completed(run.config()), redact(settings.model_dump(mode="json")))
    return not changes.trajectory and not changes.structural


def _last_words(log: Path) -> str:
    """Return the first line of a job's last message."""
    try:
        text = read_bytes(log)[-10_000:].decode("utf-8", errors="replace").strip()
    except OSError:
        return ""
    return redact_text(text.split("\n\n")[-1].split("\n")[-3:][0]) if text else ""
