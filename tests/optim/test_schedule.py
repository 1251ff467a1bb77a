"""The learning rate against the formulas of the originals' code, and against transformers where they agree."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from support import original_schedules as originals

from plmtrain.optim.schedule import learning_rate
from plmtrain.settings.optimizer import ScheduleSettings

STEPS = 50
PEAK = 3e-4


def course(**settings) -> list[float]:
    schedule = ScheduleSettings(**settings)
    return [learning_rate(step, schedule, PEAK, STEPS) for step in range(STEPS + 5)]


@pytest.mark.parametrize(
    ("settings", "original"),
    [
        ({"type": "linear", "warmup": 10, "decay_from": "start"}, lambda t: originals.bert(t, 10, PEAK, STEPS)),
        (
            {"type": "linear", "warmup": 10, "decay_from": "start", "multiply_warmup": True},
            lambda t: originals.electra(t, 10, PEAK, STEPS),
        ),
        ({"type": "linear", "warmup": 0.2}, lambda t: originals.fairseq(t, 10, PEAK, STEPS)),
        ({"type": "linear", "warmup": 0}, lambda t: originals.fairseq(t, 0, PEAK, STEPS)),
        (
            {"type": "polynomial", "warmup": 7, "end": 0.1, "power": 2.5},
            lambda t: originals.fairseq(t, 7, PEAK, STEPS, 0.1 * PEAK, 2.5),
        ),
        ({"type": "inverse_sqrt", "warmup": 10, "start": 1e-3}, lambda t: originals.xlm(t, 10, PEAK, STEPS, 1e-3 * PEAK)),
        ({"type": "inverse_sqrt", "warmup": 10, "flat_warmup": True}, lambda t: PEAK * 10**0.5 / max(t, 10) ** 0.5),
        ({"type": "cosine", "warmup": 10, "decay_from": "start"}, lambda t: originals.gpt1(t, 10, PEAK, STEPS)),
        ({"type": "cosine", "warmup": 10, "decay_from": "start", "decay_until": 30}, lambda t: originals.gpt1(t, 10, PEAK, 30)),
    ],
    ids=["bert", "electra", "roberta", "no-warm-up", "fairseq-polynomial", "xlm", "t5", "gpt1", "gpt3"],
)
def test_rates_follow_the_originals_code(settings: dict, original) -> None:
    assert course(**settings) == pytest.approx([original(t) for t in range(STEPS + 5)], rel=1e-12)


def test_rates_agree_with_transformers() -> None:
    import torch
    import transformers

    def theirs(make, **arguments) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
        scheduler = make(optimizer, num_warmup_steps=8, **arguments)
        rates = []
        for _ in range(STEPS):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        return rates

    total = {"num_training_steps": STEPS}
    pairs = [
        ({"type": "linear"}, theirs(transformers.get_linear_schedule_with_warmup, **total)),
        ({"type": "constant"}, theirs(transformers.get_constant_schedule_with_warmup)),
        ({"type": "cosine"}, theirs(transformers.get_cosine_schedule_with_warmup, **total)),
        (
            {"type": "polynomial", "power": 2.0, "end": 0.1},
            theirs(transformers.get_polynomial_decay_schedule_with_warmup, lr_end=0.1 * PEAK, power=2.0, **total),
        ),
        ({"type": "inverse_sqrt"}, theirs(transformers.get_inverse_sqrt_schedule, timescale=8)),
        (
            {"type": "warmup_stable_decay", "decay": 20, "end": 0.2, "start": 0.2},
            theirs(transformers.get_wsd_schedule, num_decay_steps=20, decay_type="linear", min_lr_ratio=0.2, **total),
        ),
    ]
    for settings, reference in pairs:
        assert course(warmup=8, **settings)[:STEPS] == pytest.approx(reference, rel=1e-9), settings


@pytest.mark.parametrize("kind", ["linear", "polynomial", "cosine", "inverse_sqrt", "constant", "warmup_stable_decay"])
@pytest.mark.parametrize("warmup", [0, 1, 0.06, 0.5, STEPS])
def test_rates_stay_within_the_peak_and_touch_it(kind: str, warmup: float) -> None:
    rates = course(type=kind, warmup=warmup)
    assert all(0 <= rate <= PEAK for rate in rates)
    if warmup <= STEPS / 2:
        assert max(rates) == pytest.approx(PEAK)


def test_a_share_is_of_all_steps_and_a_number_is_a_number() -> None:
    settings = ScheduleSettings(type="warmup_stable_decay", warmup=0.1, decay=30)
    assert [settings.warmup_steps(total) for total in (10, 30, 1000)] == [1, 3, 100]
    assert settings.decay_steps(1000) == 30
    assert ScheduleSettings(warmup=1).warmup_steps(1000) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "linear", "power": 2.0},
        {"type": "constant", "end": 0.1},
        {"type": "inverse_sqrt", "decay_from": "start"},
        {"type": "inverse_sqrt", "multiply_warmup": True},
        {"type": "cosine", "decay": 0.5},
        {"type": "linear", "flat_warmup": True},
        {"type": "inverse_sqrt", "flat_warmup": True, "start": 0.1},
        {"type": "linear", "warmup": 10.5},
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(settings: dict) -> None:
    with pytest.raises(ValidationError):
        ScheduleSettings(**settings)
