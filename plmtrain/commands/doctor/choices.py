"""The choices of a run on this machine where its settings leave them open, and their reasons."""

from __future__ import annotations

import os

import torch

from plmtrain import limits
from plmtrain.commands.doctor.diagnosis import Diagnosis
from plmtrain.training.machine import product_rate
from plmtrain.training.precision import Precision, choose_precision, precision_reason

_ROWS, _WIDTH, _FEED_FORWARD = 2048, 768, 3072
"""The product that is measured: 2,048 tokens with a feed-forward layer of BERT base (Devlin et al. 2019, section 3)."""

_MUCH_FASTER = 1.2


def choices() -> Diagnosis:
    """Return what ``auto`` and null become in a run of one process."""
    part = Diagnosis("run", "a run gets")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    why = "the GPU" if device.type == "cuda" else "there is no GPU that torch can use"
    part.fact("device", f"{device.type} ({why})", device=device.type)
    torch.set_num_threads(limits.cores())
    if device.type == "cpu":
        threads = torch.get_num_threads()
        part.fact("threads", f"{threads}, shared among the processes of a run", threads=threads)
        _waiting(part)
    _precision(part, device)
    return part


def _waiting(part: Diagnosis) -> None:
    """Tell what OpenMP's threads do while they wait; ``plmtrain.cli`` sets it before torch is loaded."""
    spins, policy = os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY", "")
    if spins is not None:
        said = f"as GOMP_SPINCOUNT={spins} says"
    elif policy.upper() == "PASSIVE":
        said = "asleep (OMP_WAIT_POLICY=PASSIVE), so that a busy neighbour costs only its share of the time"
    else:
        said = f"spinning (OMP_WAIT_POLICY={policy})"
        part.advice.append(
            f"OMP_WAIT_POLICY={policy}: threads spin while they wait, and beside another busy process a run takes a multiple of "
            "its time; unset it, and plmtrain lets them sleep"
        )
    part.fact("waiting", said, wait_policy=policy or None)


def _precision(part: Diagnosis, device: torch.device) -> None:
    chosen, reason = choose_precision("auto", device), precision_reason("auto", device)
    part.fact("precision", f"{chosen} ({reason})", precision=chosen, precision_reason=reason)
    rates: dict[Precision, float] = {}
    try:
        for kind in ("fp32", "bf16"):
            rates[kind] = product_rate(_ROWS, _WIDTH, _FEED_FORWARD, kind, device, seconds=0.3)
    except RuntimeError as error:  # no memory on a GPU that others use, or its driver
        part.advice.append(f"a product of matrices fails on {device.type}: {str(error).splitlines()[0]}")
        return
    said = ", ".join(f"{kind} {rate / 1e9:,.0f} GFLOPS" for kind, rate in rates.items())
    part.fact("products", f"{said} in a product of 2,048 rows", product_rates=rates)
    fastest = max(rates, key=lambda kind: rates[kind])
    if chosen in rates and rates[fastest] > _MUCH_FASTER * rates[chosen]:
        part.advice.append(
            f"{fastest} is {rates[fastest] / rates[chosen]:.1f} times as fast here as {chosen}, which is chosen: "
            f"trainer.precision={fastest} asks for it"
        )
