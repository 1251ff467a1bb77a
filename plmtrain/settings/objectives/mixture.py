"""Several objectives on one backbone, one of them in each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, StringConstraints, model_validator

from plmtrain.errors import nearest
from plmtrain.settings.objectives.base import ObjectiveSettings


def _decoded(value: Any) -> Any:
    """Decode the settings of a part by its ``type``."""
    from plmtrain.settings.lookup import objective_classes

    if not isinstance(value, Mapping):
        return value
    kind = value.get("type")
    if kind is None:
        raise ValueError("it is not a part of the mixture: give it a share in objective.shares")
    classes = {name: settings for name, settings in objective_classes().items() if not settings.is_combined}
    if kind not in classes:
        raise ValueError(f"there is no type of objective '{kind}' that can be a part: {nearest(str(kind), classes)}")
    if classes[kind].reads in ("streams", "two_way_streams"):
        # Its rows continue each other, and so does its memory: steps of other parts in between would break both.
        raise ValueError("it cannot be a part, since it carries memory from step to step: train it alone, without a mixture")
    return classes[kind].model_validate(value)


def _by_name(values: dict[str, Any]) -> dict[str, Any]:
    """Sort by name, so that the order in which they were written changes neither the run nor its folder."""
    return dict(sorted(values.items()))


PartName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
Share = Annotated[float, Field(ge=0)]
Part = Annotated[SerializeAsAny[ObjectiveSettings], BeforeValidator(_decoded)]


class MixtureSettings(ObjectiveSettings):
    """The parts of a mixture and their shares: as in UniLM (Dong et al. 2019, section 2.3) and XLM (Lample and Conneau 2019,
    section 5.1), a step trains one objective alone."""

    is_combined: ClassVar[bool] = True

    type: Literal["mixture"] = "mixture"
    shares: Annotated[dict[PartName, Share], AfterValidator(_by_name)]
    """How often a step trains each part, relative to the sum of all shares. A name is that of a YAML of ``conf/objective``."""
    parts: Annotated[dict[PartName, Part], AfterValidator(_by_name)] = Field(default_factory=dict)
    """The settings of each part; omitted ones are as in the part's YAML."""

    @model_validator(mode="after")
    def _parts_have_shares(self) -> MixtureSettings:
        if len(self.shares) < 2:
            named = "only " + next(iter(self.shares)) if self.shares else "nothing"
            raise ValueError(f"shares names {named}: name two objectives, as in 'objective.shares={{dynamic_mlm: 3, rtd: 1}}'")
        if not any(self.shares.values()):
            raise ValueError("shares are all 0: give one above 0")
        for name in sorted(self.parts.keys() - self.shares.keys()):
            raise ValueError(f"parts has {name}, which has no share: {nearest(name, self.shares)}")
        for name in sorted(self.shares.keys() - self.parts.keys()):
            raise ValueError(f"shares names {name}, which is not a part: {nearest(name, self.parts)}")
        return self

    def members(self) -> dict[str, ObjectiveSettings]:
        """Return the parts."""
        return {f"parts.{name}.": part for name, part in self.parts.items()}

    def fixed_keys(self) -> set[str]:
        """Return those of the parts."""
        return {"type", "name", *(f"{place}{key}" for place, part in self.members().items() for key in part.fixed_keys())}

    def idle_keys(self) -> set[str]:
        """Return those of the parts whose share is 0."""
        return {f"shares.{name}" for name, share in self.shares.items() if not share}

    @classmethod
    def keys_within(cls, values: Any) -> Iterator[str]:
        """Yield the keys of the shares and of the parts."""
        from plmtrain.settings.lookup import objective_classes

        shares = values.get("shares") if isinstance(values, Mapping) else None
        yield from (f"shares.{name}" for name in shares) if isinstance(shares, Mapping) else ()
        parts = values.get("parts") if isinstance(values, Mapping) else None
        for name, part in parts.items() if isinstance(parts, Mapping) else ():
            kind = objective_classes().get(str(part.get("type"))) if isinstance(part, Mapping) else None
            yield from (f"parts.{name}.{key}" for key in kind.model_fields) if kind is not None else ()

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Return the same mixture with other shares, or with other values of some settings of its parts."""
        return type(self).model_validate(_merged(self.model_dump(), changes))


def _merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
