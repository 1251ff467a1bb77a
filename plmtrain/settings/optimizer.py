"""The optimiser and the learning rate's course."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plmtrain.settings.base import Settings


class OptimizerSettings(Settings):
    """AdamW with decoupled weight decay (Loshchilov and Hutter 2019)."""

    type: Literal["adamw"] = "adamw"
    lr: float = Field(gt=0)
    """The peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(1e-6, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    """Not applied to biases and layer norms."""
    bias_correction: bool = True
    """Off for the optimiser of BERT's and ELECTRA's code."""
    clip_norm: float | None = Field(1.0, gt=0)
    """The global gradient norm is cut to this; null for no clipping, as in RoBERTa."""


class ScheduleSettings(Settings):
    """lr = f(step)."""

    type: Literal["linear", "polynomial", "cosine", "inverse_sqrt", "constant", "warmup_stable_decay"] = "linear"
    warmup: float = Field(0.06, ge=0)
    """Steps of linear warm-up: below 1 a share of all steps, else a number of steps."""
    end: float = Field(0.0, ge=0, le=1)
    """What the learning rate ends at, as a share of its peak (linear, polynomial, cosine, warmup_stable_decay)."""
    power: float = Field(1.0, gt=0)
    """The exponent of polynomial decay."""
    decay_from: Literal["start", "warmup"] = "warmup"
    """Whether linear decay is counted from step 0, as in BERT's code, or from the end of warm-up, as in RoBERTa's."""
    multiply_warmup: bool = False
    """Whether warm-up multiplies the decay, as in ELECTRA's code, rather than preceding it."""
    decay: float = Field(0.2, gt=0)
    """Steps of the final decay of warmup_stable_decay: below 1 a share of all steps, else a number of steps."""
