"""What all settings have in common: frozen, nothing unknown, nothing silently converted, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
"""A name that becomes part of a folder's name."""

Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""A list of texts; one text alone is a list of one."""


class Settings(BaseModel):
    """A group of settings that is fully checked when it is made, and never changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    @classmethod
    def keys_within(cls, values: Any) -> Iterator[str]:
        """The keys that some values have below those of the class itself, for the nearest valid name.

        Args:
            values: what was given; it need not be sound.
        """
        yield from ()
