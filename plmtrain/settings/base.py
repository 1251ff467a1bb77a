"""The base of all settings: frozen, unknown keys refused, no silent conversion, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from plmtrain.errors import nearest

MOST = 10**9
"""The largest number in a setting without a bound of its own: no run has more steps, and arithmetic with it stays exact."""

MOST_PLACES = 2**20
"""The most tokens in a row: attention over more takes more memory than any machine has."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
"""A name that becomes part of a folder's name."""

Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""A list of texts; one text alone is a list of one."""


class Settings(BaseModel):
    """A group of settings that is fully checked when it is created, and never changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_true(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``true`` where a number is expected: pydantic would take it for 1."""
        assert info.field_name is not None
        kinds = set(_kinds(cls.model_fields[info.field_name].annotation))
        truths = [item for item in _items(value) if isinstance(item, bool)]
        if truths and kinds & {int, float} and not kinds & {bool, Any}:
            wanted = "a number" if float in kinds else "a whole number"
            raise ValueError(f"{str(truths[0]).lower()} is not a number: give it {wanted}")
        return value

    @field_validator("*")
    @classmethod
    def _is_listed(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a name that a table of the package does not have."""
        assert info.field_name is not None
        names = cls.names_of(info.field_name)
        if names and value not in names:
            raise ValueError(f"'{value}' is not known: {nearest(str(value), names)}")
        return value

    @field_validator("*")
    @classmethod
    def _is_plausible(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a number that no run needs, such as 10^12 steps, unless its field has an upper bound of its own."""
        assert info.field_name is not None
        bounded = any(hasattr(rule, "le") or hasattr(rule, "lt") for rule in cls.model_fields[info.field_name].metadata)
        numbers = [item for item in _items(value) if isinstance(item, int | float) and not bounded]
        if beyond := [number for number in numbers if abs(number) > MOST]:
            shown = str(beyond[0])
            raise ValueError(f"{shown[:40]}{'...' * (len(shown) > 40)} is more than any run needs: use at most {MOST:,}")
        return value

    @classmethod
    def names_of(cls, field: str) -> list[str]:
        """Return the names that a setting can have, where a table of the package lists them; empty where none does.

        Args:
            field: the name of the setting in its group.
        """
        return []

    @classmethod
    def keys_within(cls, values: Any) -> Iterator[str]:
        """Yield the keys that some values have below those of the class itself, for the nearest valid name.

        Args:
            values: as the user gave them; they may be invalid.
        """
        yield from ()


def keys_of_members(values: object, members: str, settings: type[Settings]) -> Iterator[str]:
    """Yield the keys of each named member of a group, such as ``tasks.NAME.metrics``.

    Args:
        values: of the group, as the user gave them; they may be invalid.
        members: the key of the group under which its members are.
        settings: the class of a member.
    """
    named = values.get(members) if isinstance(values, Mapping) else None
    for name in named if isinstance(named, Mapping) else ():
        yield from (f"{members}.{name}.{key}" for key in settings.model_fields)


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation consists of."""
    parts = get_args(annotation)
    yield from (kind for part in parts for kind in _kinds(part)) if parts else (annotation,)


def _items(value: Any) -> Iterator[Any]:
    """Yield a value, or the items of a nested list of values."""
    yield from (item for part in value for item in _items(part)) if isinstance(value, list | tuple) else (value,)
