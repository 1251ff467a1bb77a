"""The state of a run that outlives a step besides tensors: one small record, saved as JSON with every float exact."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from plmtrain.data.loading.plan import Decision
from plmtrain.errors import CheckpointError
from plmtrain.json_files import DamagedJson, as_record, parse

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode_floats(value: Any) -> Any:
    """Return a JSON value in which ``nan``, ``inf`` and ``-inf`` are strings, since JSON has no such numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {name: encode_floats(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_floats(item) for item in value]
    return value


def decode_floats(value: Any) -> Any:
    """Invert ``encode_floats``, for values in which no other string equals one of these names."""
    if isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if isinstance(value, dict):
        return {name: decode_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [decode_floats(item) for item in value]
    return value


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a run. Nothing here can be computed from the step and the settings."""

    step: int = 0
    """Steps that are done, skipped ones among them."""
    tokens: int = 0
    """Tokens that were read in them."""
    best_metric: float | None = None
    """The best validation so far."""
    best_step: int | None = None
    """The step after which that was measured."""
    evaluated_step: int | None = None
    """The step after which the last validation took place: a resume does not repeat it."""
    evaluations_without_improvement: int = 0
    """Validations since then, for ``trainer.patience``."""
    skipped_steps: int = 0
    """Steps whose update was skipped because a gradient was not finite."""
    skipped_in_a_row: int = 0
    """How many consecutive ones of them were the last steps."""
    loss_scale: dict[str, Any] | None = None
    """The state of fp16's loss scaling (``torch.amp.GradScaler.state_dict``)."""
    used_seconds: float = 0.0
    """The seconds of ``trainer.hours`` that were used."""
    decisions: tuple[Decision, ...] = ()
    """The decisions of the clock with ``trainer.hours``."""

    def to_json(self) -> str:
        """Return JSON text; Python writes the shortest decimal that reads back as the same float."""
        return json.dumps(encode_floats(asdict(self)), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """Read the text of ``to_json``; fields that an older version did not have keep their defaults.

        Raises:
            CheckpointError: if the text is not such a record, or a newer version wrote it.
        """
        try:
            values = decode_floats(parse(text))
        except DamagedJson as error:
            raise CheckpointError(f"the record of progress is damaged: {error}") from error
        if not isinstance(values, dict):
            raise CheckpointError("the record of progress is not an object")
        if unknown := values.keys() - {field.name for field in fields(cls)}:
            raise CheckpointError(
                f"the record of progress has fields that are unknown to this version: {', '.join(sorted(unknown))}",
                "",
                "use the version of plmtrain that wrote it; the checkpoint's manifest.json names it",
            )
        try:
            return as_record(values, cls)
        except DamagedJson as error:
            raise CheckpointError(f"the record of progress is damaged: {error}") from error
