"""What outlives a step besides tensors: one small record, saved as JSON with every float exact."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from plmtrain.errors import CheckpointError

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode_floats(value: Any) -> Any:
    """A JSON value in which ``nan``, ``inf`` and ``-inf`` are strings, since JSON has no such numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {name: encode_floats(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [encode_floats(one) for one in value]
    return value


def decode_floats(value: Any) -> Any:
    """The inverse of ``encode_floats``, for values in which no other string reads like a number."""
    if isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if isinstance(value, dict):
        return {name: decode_floats(one) for name, one in value.items()}
    if isinstance(value, list):
        return [decode_floats(one) for one in value]
    return value


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands. Nothing here can be computed from the step and the settings."""

    step: int = 0
    """Steps that are done, skipped ones among them."""
    tokens: int = 0
    """Tokens that were read in them."""
    best_metric: float | None = None
    """The best validation so far."""
    best_step: int | None = None
    """The step after which that was."""
    evaluated_step: int | None = None
    """The step after which the last validation was: a resume does not repeat it."""
    evaluations_without_improvement: int = 0
    """Validations since then, for ``trainer.patience``."""
    skipped_steps: int = 0
    """Steps whose update was left out because a gradient was not finite."""
    skipped_in_a_row: int = 0
    """How many of them were the last ones."""
    loss_scale: dict[str, Any] | None = None
    """The state of fp16's loss scaling (``torch.amp.GradScaler.state_dict``)."""

    def to_json(self) -> str:
        """JSON text; Python writes the shortest decimal that reads back as the same float."""
        return json.dumps(encode_floats(asdict(self)), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """Read what ``to_json`` wrote; fields that an older version did not have keep their defaults.

        Raises:
            CheckpointError: if the text is no such record, or a newer version wrote it.
        """
        try:
            values = decode_floats(json.loads(text))
        except ValueError as error:
            raise CheckpointError(f"the record of progress is no JSON: {error}") from error
        if not isinstance(values, dict):
            raise CheckpointError("the record of progress is not an object")
        if unknown := values.keys() - {field.name for field in fields(cls)}:
            raise CheckpointError(
                f"the record of progress has fields that this version does not know: {', '.join(sorted(unknown))}",
                "",
                "use the version of plmtrain that wrote it; the checkpoint's manifest.json names it",
            )
        return cls(**values)
