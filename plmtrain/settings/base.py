"""What all settings have in common: frozen, nothing unknown, nothing silently converted, no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A group of settings that is fully checked when it is made, and never changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
