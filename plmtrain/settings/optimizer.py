"""The optimiser and the schedule of the learning rate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Settings

_Mean = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSettings(Settings):
    """AdamW with decoupled weight decay (Loshchilov and Hutter 2019), LAMB (You et al. 2020), or Adagrad (Duchi et al. 2011)."""

    type: Literal["adamw", "lamb", "adagrad"] = "adamw"
    lr: float = Field(gt=0)
    """The peak learning rate."""
    betas: tuple[_Mean, _Mean] = (0.9, 0.999)
    """The share of the running means of the gradient and of its square that each step keeps."""
    eps: float = Field(1e-6, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay, of the parameters that ``weight_decay_on`` says."""
    weight_decay_on: Literal["matrices", "all"] = "matrices"
    """Whether weight decay omits biases and layer norms, as in most published code, or is of all parameters (XLM's code). With
    LAMB the omitted parameters have no trust ratio either."""
    bias_correction: bool = True
    """Off for the optimisers of BERT's, ELECTRA's and ALBERT's code."""
    initial_accumulator: float = Field(0.0, ge=0)
    """The value at which Adagrad's sums of squared gradients begin: 1 in ELMo's code."""
    clip_norm: float | None = Field(1.0, gt=0)
    """The global gradient norm is clipped to this; null for no clipping, as in RoBERTa."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> OptimizerSettings:
        if self.type == "adagrad":
            without = {"betas": (0.9, 0.999), "weight_decay": 0.0, "weight_decay_on": "matrices", "bias_correction": True}
        else:
            without = {"initial_accumulator": 0.0}
        for key, nothing in without.items():
            if getattr(self, key) != nothing:
                raise ValueError(f"{key} has no meaning for type {self.type}: write {key}={_shown(nothing)}, or omit it")
        return self


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


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
        for key, types in _MEANT_FOR.items():
            if getattr(self, key) != type(self).model_fields[key].default and self.type not in types:
                raise ValueError(f"{key} has no meaning for type {self.type}; it is for {', '.join(types)}")
        if self.flat_warmup and self.start:
            raise ValueError("start has no meaning with flat_warmup")
        for key in ("warmup", "decay", "decay_until"):
            if (value := getattr(self, key)) is not None and value >= 1 and value != int(value):
                raise ValueError(f"{key} is {value:g}: below 1 it is a share of all steps, else a whole number of steps")
        return self


_MEANT_FOR = {
    "flat_warmup": ("inverse_sqrt",),
    "end": ("linear", "polynomial", "cosine", "warmup_stable_decay"),
    "power": ("polynomial",),
    "decay_until": ("linear", "polynomial", "cosine"),
    "decay_from": ("linear", "polynomial", "cosine"),
    "multiply_warmup": ("linear", "polynomial", "cosine"),
    "decay": ("warmup_stable_decay",),
}


def _in_steps(share_or_number: float, total_steps: int) -> int:
    return round(share_or_number * total_steps) if share_or_number < 1 else int(share_or_number)
