"""runs/NAME/: all files of a run."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from plmtrain.errors import SettingsError
from plmtrain.files import disk_errors, make_folder, read_text, write_json_atomically, write_text_atomically
from plmtrain.json_files import DamagedJson, read_object
from plmtrain.redaction import redact, redact_text
from plmtrain.training.checkpoint import JOURNAL, Checkpoints
from plmtrain.training.checkpoint_manifest import Identity, step_folders
from plmtrain.training.decision_log import DecisionLog
from plmtrain.training.lock import RunLock
from plmtrain.training.metrics_log import MetricsLog
from plmtrain.training.progress import decode_floats, encode_floats

State = Literal["preparing", "running", "stopped", "interrupted", "finished", "failed"]

_CONFIG, _CHECKPOINTS = "config.yaml", "checkpoints"

HELD_OUT = "held_out"
"""The folder of what the answers to held-out examples show, in that of a fine-tuned run."""
CONFUSION, ERRORS, REVIEW = "confusion.csv", "errors.jsonl", "summary.json"
"""The files in it: the confusion matrix, the most confident errors, and what is said in a word or two."""
_NAME_LIMIT = 120
"""Bytes of a folder's name; file systems allow 255, and the files in it need room too."""
_CONFIG_LIMIT = 2**20
_CONFIG_DEPTH = 50


def safe_name(name: str) -> str:
    """Return a folder name that stays below its parent, for any name that a user may choose.

    Names of letters, digits and ``. _ - = + ,`` are unchanged. In others each other character becomes ``_``, and a hash of the
    whole is appended, so that two names never share a folder. What looks like a secret in a name is masked in the same way.
    """
    safe = re.sub(r"[^\w.=+,-]", "_", redact_text(name)).lstrip(".-")
    if safe == name and 0 < len(name.encode()) <= _NAME_LIMIT:
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    short = safe.encode(errors="replace")[: _NAME_LIMIT - 9].decode(errors="ignore")
    return f"{short or 'run'}-{digest}"


def run_and_step(folder: Path) -> tuple[Path, int | None] | None:
    """Return a run's folder, given it or that of a checkpoint, and the checkpoint's step; None for any other folder."""
    if (folder / _CONFIG).is_file():
        return folder, None
    checkpoints = folder.parent
    if checkpoints.name == _CHECKPOINTS and (checkpoints.parent / _CONFIG).is_file():
        step = next((step for step, path in step_folders(checkpoints).items() if path.name == folder.name), None)
        return None if step is None else (checkpoints.parent, step)
    return None


class RunFolder:
    """A run's folder.

    Args:
        path: the folder; ``create`` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / _CONFIG
        self.status_path = self.path / "status.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.decisions_path = self.path / "clock.jsonl"
        self.checkpoints_path = self.path / "checkpoints"
        self.tokenizer_path = self.path / "tokenizer"
        self.log_path = self.path / "log.txt"
        self.trackers_path = self.path / "trackers"
        self.tuned_path = self.path / "tuned.json"
        self._run_id: str | None = None
        self._lock: RunLock | None = None

    @classmethod
    def below(cls, runs_dir: str | Path, name: str) -> RunFolder:
        """Return the folder of a run by its name, which may contain any characters."""
        return cls(Path(runs_dir) / safe_name(name))

    @property
    def exists(self) -> bool:
        """Whether a run was ever started here."""
        return self.config_path.is_file()

    def create(self) -> RunFolder:
        """Make the folder, and those above it.

        Raises:
            DiskError: if the disk refuses.
        """
        make_folder(self.path)
        return self

    def lock(self, report: Callable[[str], None] = lambda line: None) -> RunLock:
        """Return the folder's lock, to be held inside a ``with`` statement by any writer."""
        self._lock = RunLock(self.path / "lock.json", report)
        return self._lock

    def metrics(self) -> MetricsLog:
        """metrics.jsonl."""
        return MetricsLog(self.metrics_path)

    def decisions_log(self) -> DecisionLog:
        """clock.jsonl."""
        return DecisionLog(self.decisions_path)

    def checkpoints(
        self,
        keep: int = 1,
        identity: Identity | None = None,
        milestones: Collection[int] = (),
        token_milestones: Collection[int] = (),
    ) -> Checkpoints:
        """Return the run's checkpoints; without an identity they can only be read."""
        permitted = self._lock.require_ours if self._lock is not None else lambda: None
        return Checkpoints(self.checkpoints_path, keep, identity, [self.metrics_path], permitted, milestones, token_milestones)

    @property
    def run_id(self) -> str:
        """A random word that distinguishes this run from all others; created once and kept in status.json."""
        if self._run_id is None:
            known = (_read_object(path).get("run_id") for path in (self.status_path, self.path / JOURNAL))
            self._run_id = next((value for value in known if isinstance(value, str)), None) or secrets.token_hex(8)
        return self._run_id

    def write_status(self, state: State, exit_code: int | None = None, reason: str = "", **facts: Any) -> None:
        """Write the state of the run.

        Args:
            state: what it is doing, or how it ended.
            exit_code: the exit code, once it ended.
            reason: why it ended so.
            facts: further values (``step``, ``total_steps`` ...); secrets are masked.

        Raises:
            DiskError: if the disk refuses; the old status is unchanged.
        """
        status = {
            "state": state,
            "exit_code": exit_code,
            "reason": reason,
            "run_id": self.run_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "updated": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **facts,
        }
        write_json_atomically(self.status_path, redact(encode_floats(status)))

    def status(self) -> dict[str, Any]:
        """Return the last state written; empty if there is none, or if it cannot be read."""
        status: dict[str, Any] = decode_floats(_read_object(self.status_path))
        return status

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Write the resolved settings, as plain YAML; secrets are masked.

        Raises:
            DiskError: if the disk refuses.
        """
        import yaml  # type: ignore[import-untyped]

        text = yaml.safe_dump(redact(values), sort_keys=False, allow_unicode=True, width=120)
        write_text_atomically(self.config_path, text)

    def config(self) -> dict[str, Any]:
        """Return the resolved settings that were written, secrets masked: compare with ``redact`` of new ones.

        Raises:
            SettingsError: if the folder is not a run, or the file is not plain YAML as written here.
        """
        try:
            if self.config_path.stat().st_size > _CONFIG_LIMIT:
                raise SettingsError(
                    "config.yaml is too large for a run's settings", str(self.config_path), "check that this is a run of plmtrain"
                )
            return read_plain_yaml(read_text(self.config_path), str(self.config_path))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{self.path} is not a run", f"{self.config_path} cannot be read: {error}", "name a folder below runs/"
            ) from error

    @contextmanager
    def log(self) -> Iterator[logging.Logger]:
        """While this is open, messages of the logger ``plmtrain`` go to log.txt, with full tracebacks and secrets masked."""
        logger = logging.getLogger("plmtrain")
        with disk_errors(self.log_path):
            handler = _Handler(self.log_path, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
        propagates, level = logger.propagate, logger.level
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        try:
            yield logger
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagates
            handler.close()


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact_text(super().format(record))


class _Handler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore a log that cannot be written: that must neither stop the run nor print a traceback of its own."""


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; empty if there is none, or it is damaged."""
    try:
        return read_object(path)
    except (OSError, DamagedJson):
        return {}


def read_plain_yaml(text: str, where: str) -> dict[str, Any]:
    """Read YAML that only contains mappings, lists and scalars: no tags that create objects, no aliases that multiply.

    Raises:
        SettingsError: if it contains anything else.
    """
    import yaml

    # In C if available: the parser in Python takes seconds over a hostile file.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise SettingsError("aliases are not read in a run's settings", where, "write the values out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _CONFIG_DEPTH:
                # Stop here, not after the last bracket: yaml's time grows with the square of the depth.
                raise SettingsError("this is nested too deeply for a run's settings", where, "restore the file from a copy")
        values = loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"this is not plain YAML: {reason}", where, "restore the file from a copy") from error
    if not isinstance(values, dict):
        raise SettingsError("this contains no settings", where, "restore the file from a copy")
    return values
