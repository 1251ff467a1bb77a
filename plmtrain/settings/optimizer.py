"""The optimiser and the schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Settings

_Mean = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSettings(Settings):
    """AdamW with decoupled weight decay (Loshchilov and Hutter 2019), LAMB (You et al. 2020), Adafactor (Shazeer and Stern 2018),
    Adagrad (Duchi et al. 2011), or Muon (Jordan et al. 2024)."""

    type: Literal["adamw", "lamb", "adafactor", "adagrad", "muon"] = "adamw"
    lr: float = Field(gt=0)
    """The peak learning rate."""
    betas: tuple[_Mean, _Mean] = (0.9, 0.999)
    """The share of the running means of the gradient and of its square that each step keeps (adamw, lamb, and muon but for
    hidden matrices)."""
    momentum: _Mean = 0.95
    """The share of the running mean of a hidden matrix's gradient that each step keeps (muon)."""
    eps: float = Field(1e-6, gt=0)
    """Added to the root of the squared gradient's mean; by Adafactor to the squared gradient itself."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay, of the parameters that ``weight_decay_on`` says."""
    weight_decay_on: Literal["matrices", "all"] = "matrices"
    """Whether weight decay omits biases and layer norms, as in most published code, or is of all parameters (XLM's code). With
    LAMB the omitted parameters have no trust ratio either."""
    bias_correction: bool = True
    """Off for the optimisers of BERT's, ELECTRA's and ALBERT's code (adamw, lamb, and muon but for hidden matrices)."""
    decay_power: float = Field(0.8, gt=0, le=1)
    """The running mean of the squared gradient keeps 1 - t^-decay_power at update t (adafactor)."""
    clip_update: float | None = Field(1.0, gt=0)
    """The root mean square of a matrix's update, before the learning rate, is clipped to this; null for no clipping
    (adafactor)."""
    scale_by_parameter: bool = True
    """Whether the learning rate of a matrix is multiplied by the root mean square of its weights (adafactor)."""
    least_scale: float = Field(1e-3, gt=0)
    """The least such factor, so that weights of zero are trained (adafactor)."""
    factor_from: int = Field(128, gt=0)
    """Matrices with fewer rows or columns keep the second moment of each weight (adafactor)."""
    initial_accumulator: float = Field(0.0, ge=0)
    """The value at which the sums of squared gradients begin: 1 in ELMo's code (adagrad)."""
    clip_norm: float | None = Field(1.0, gt=0)
    """The global gradient norm is clipped to this; null for no clipping, as in RoBERTa."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """The learning rate of a layer as a share of that of the layer above it, the embeddings below the first one; 1 for the same
    rate everywhere (Clark et al. 2020, appendix B)."""
    head_depth: int = Field(2, ge=0, le=16)
    """The number of such steps from the head, which has the whole rate, to the last layer: 2 in ELECTRA's code, 0 in XLNet's."""

    @property
    def moments(self) -> int:
        """The numbers that are kept for each weight: two moments, one sum, or none where sums over rows and columns stand for
        them."""
        return {"adafactor": 0, "adagrad": 1}.get(self.type, 2)

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> OptimizerSettings:
        _require_meaning(self, _OPTIMIZERS_WITH)
        if self.layer_decay == 1 and self.head_depth != type(self).model_fields["head_depth"].default:
            raise ValueError("head_depth has no meaning without layer_decay: give it a value below 1, such as 0.8")
        return self


_OPTIMIZERS_WITH = {
    "betas": ("adamw", "lamb", "muon"),
    "momentum": ("muon",),
    "bias_correction": ("adamw", "lamb", "muon"),
    "decay_power": ("adafactor",),
    "clip_update": ("adafactor",),
    "scale_by_parameter": ("adafactor",),
    "least_scale": ("adafactor",),
    "factor_from": ("adafactor",),
    "initial_accumulator": ("adagrad",),
}
"""The types of optimisers that read a setting which others ignore."""


class ScheduleSettings(Settings):
    """lr = f(step): ``plmtrain.optim.schedule`` has the formulas."""

    type: Literal["linear", "polynomial", "cosine", "inverse_sqrt", "constant", "warmup_stable_decay"] = "linear"
    warmup: float = Field(0.06, ge=0)
    """Steps of linear warm-up: below 1 a share of all steps, else a number of steps."""
    start: float = Field(0.0, ge=0, le=1)
    """The learning rate at which warm-up begins, as a share of the peak."""
    flat_warmup: bool = False
    """Whether the learning rate is at its peak during warm-up, as in T5 (inverse_sqrt alone)."""
    end: float = Field(0.0, ge=0, le=1)
    """The final learning rate, as a share of the peak (linear, polynomial, cosine, warmup_stable_decay)."""
    power: float = Field(1.0, gt=0)
    """The exponent of polynomial decay."""
    decay_from: Literal["start", "warmup"] = "warmup"
    """Whether decay is counted from step 0, as in BERT's code, or from the end of warm-up, as in RoBERTa's."""
    decay_until: float | None = Field(None, gt=0)
    """When decay ends and the rate stays: below 1 a share of all steps, else a number of steps; null for the last step."""
    multiply_warmup: bool = False
    """Whether warm-up multiplies the decay, as in ELECTRA's code, rather than preceding it."""
    decay: float = Field(0.2, gt=0)
    """Steps of the final decay of warmup_stable_decay: below 1 a share of all steps, else a number of steps."""

    def warmup_steps(self, total_steps: int) -> int:
        """Return the length of warm-up in steps."""
        return _in_steps(self.warmup, total_steps)

    def decay_end(self, total_steps: int) -> int:
        """Return the step at which linear, polynomial or cosine decay ends."""
        return total_steps if self.decay_until is None else _in_steps(self.decay_until, total_steps)

    def decay_steps(self, total_steps: int) -> int:
        """Return the length of warmup_stable_decay's final decay in steps."""
        return _in_steps(self.decay, total_steps)

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> ScheduleSettings:
        _require_meaning(self, _SCHEDULES_WITH)
        if self.flat_warmup and self.start:
            raise ValueError("start has no meaning with flat_warmup")
        for key in ("warmup", "decay", "decay_until"):
            if (value := getattr(self, key)) is not None and value >= 1 and value != int(value):
                raise ValueError(f"{key} is {value:g}: below 1 it is a share of all steps, else a whole number of steps")
        return self


_SCHEDULES_WITH = {
    "flat_warmup": ("inverse_sqrt",),
    "end": ("linear", "polynomial", "cosine", "warmup_stable_decay"),
    "power": ("polynomial",),
    "decay_until": ("linear", "polynomial", "cosine"),
    "decay_from": ("linear", "polynomial", "cosine"),
    "multiply_warmup": ("linear", "polynomial", "cosine"),
    "decay": ("warmup_stable_decay",),
}


def _require_meaning(settings: OptimizerSettings | ScheduleSettings, readers: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a value for a setting that the chosen type ignores.

    Args:
        settings: the settings.
        readers: the types that read a setting, by its name; settings that are not here have a meaning for all.

    Raises:
        ValueError: if a setting has another value than its default.
    """
    for key, types in readers.items():
        if getattr(settings, key) != type(settings).model_fields[key].default and settings.type not in types:
            raise ValueError(f"{key} has no meaning for type {settings.type}; it is for {', '.join(types)}")


def _in_steps(share_or_number: float, total_steps: int) -> int:
    return round(share_or_number * total_steps) if share_or_number < 1 else int(share_or_number)
