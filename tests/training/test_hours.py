"""A run with a budget of hours under a clock of the tests: steps, validations and checkpoints take as long as it says."""

from __future__ import annotations

import itertools
import json
import math
import resource
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.data.loading.order import plan_phases
from plmtrain.data.loading.plan import Costs, Decision
from plmtrain.errors import CheckpointError, SettingsError, SettingsErrors
from plmtrain.runs.planning import in_words
from plmtrain.settings.trainer import TrainerSettings
from plmtrain.training.budget import SECONDS, first_decision, steps_that_fit
from plmtrain.training.checkpoint import Checkpoints
from plmtrain.training.decision_log import DecisionLog
from plmtrain.training.trainer import Trainer

BUDGET = 60.0
"""Seconds of a run."""

SAVING = 0.5
"""Seconds of a checkpoint, which no run knows before its first."""


class Killed(Exception):
    """Raised within a step, as a kill would come."""


@dataclass
class Watch:
    """The clock of a run, and what reports its progress: each report of a step or a validation takes its time.

    Args:
        seconds: of a step, given how many were done before it.
        validation: seconds of one.
        kill: the step in which the run is killed.
    """

    seconds: Callable[[int], float] = lambda step: 1.0
    validation: float = 2.0
    kill: int | None = None
    time: float = 0.0
    records: list[dict[str, float]] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def step(self, done: int) -> None:
        if done == self.kill:
            raise Killed
        self.time += self.seconds(done - 1)

    def planned(self, steps: int) -> None:
        self.totals.append(steps)

    def record(self, record: Mapping[str, float]) -> None:
        self.time += self.validation if "val/loss" in record else 0.0
        clock = ("seconds", "tokens_per_second", "machine_share")
        self.records.append({name: value for name, value in record.items() if name not in clock})

    def incident(self, step: int, facts: Mapping[str, object]) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def slow_saving(monkeypatch: pytest.MonkeyPatch) -> list[Watch]:
    """Let checkpoints take time on the watch in the list."""
    watches: list[Watch] = []
    save = Checkpoints.save

    def slowly(self: Checkpoints, *arguments: Any, **options: Any) -> Any:
        watches[-1].time += SAVING
        return save(self, *arguments, **options)

    monkeypatch.setattr(Checkpoints, "save", slowly)
    return watches


def hours(path: Path, *overrides: str, budget: float = BUDGET, step: tuple[float, ...] | None = (1.0,)) -> TinyRun:
    """A run with a budget in seconds. Unless ``step`` is None, it finds the plan that these seconds of a step would give."""
    run = TinyRun(path, ("trainer.evaluate_every=25", "trainer.save_every=25", "schedule.warmup=0", *overrides))
    trainer = run.settings.trainer.model_copy(update={"hours": budget / SECONDS})
    object.__setattr__(run, "settings", run.settings.model_copy(update={"trainer": trainer}))
    log = run.folder.decisions_log()
    if step is not None and not log.path.exists():
        schedule = plan_phases(trainer.model_copy(update={"steps": 10**6}))
        log.replace([first_decision(schedule, Costs(step=step, validation=2.0), trainer, 0.0)])
    return run


def go(run: TinyRun, watch: Watch) -> Trainer:
    """Train to the end, or until the watch kills it."""
    made = run.trainer()
    assert made.setup.reporter is not None
    made.setup.reporter.close()
    trainer = Trainer(replace(made.setup, reporter=watch, now=watch.now), made.module, made.state, made.progress)
    trainer.run()
    return trainer


def weights(run: TinyRun) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in run.checkpoint.load("model").items()}


SPEEDS: dict[str, Callable[[int], float]] = {
    "half as fast from the middle on": lambda step: 1.0 if step < 27 else 2.0,
    "twice as fast after a third": lambda step: 1.0 if step < 20 else 0.5,
    "slower than measured, and uneven": lambda step: 0.8 if step % 3 else 2.6,
}


@pytest.mark.parametrize("speed", SPEEDS)
def test_it_ends_in_time_with_the_schedule_at_its_end(tmp_path: Path, slow_saving: list[Watch], speed: str) -> None:
    slow_saving.append(watch := Watch(SPEEDS[speed]))
    run = hours(tmp_path / "run")
    trainer = go(run, watch)
    assert trainer.finished
    assert BUDGET - 3 <= watch.time <= BUDGET + 1
    done, peak = trainer.progress.step, run.settings.optimizer.lr
    assert done == trainer.plan.steps == run.checkpoint.step
    rates = [record["lr"] for record in watch.records if "lr" in record]
    falls = [before - after for before, after in itertools.pairwise(rates)]
    assert (len(rates), rates[0]) == (done, peak)
    # A fall is as much steeper than the mean as a step is slower: none is a jump.
    assert all(0 < fall < 4 * peak / done for fall in falls)
    assert rates[-1] < 4 * peak / done
    assert [record["step"] for record in watch.records if "val/loss" in record] == [*range(25, done, 25), done]


def test_phases_keep_their_shares_of_the_schedule(tmp_path: Path) -> None:
    """Also if the second half is slower than was measured: the first one has its steps by then, and the rest has fewer."""
    phases = "trainer.phases=[{share: 0.5, sequence_length: 8, token_factor: 1}, {share: 0.5}]"
    run = hours(tmp_path / "run", phases, "trainer.evaluate_every=1000", step=(1.0, 2.0))
    watch = Watch(lambda step: 1.0 if step < 19 else 4.0)
    trainer = go(run, watch)
    first, second = trainer.plan.phases
    assert (first.steps, trainer.plan.length(0)) == (19, 38)
    assert BUDGET - 5 <= watch.time <= BUDGET + 1
    assert 8 <= second.steps <= 10
    assert trainer.progress.tokens == first.steps * first.batch_size * 8 + second.steps * 8 * 14


def test_steps_after_a_kill_are_those_before_it(tmp_path: Path) -> None:
    """Wherever it comes, and whatever the clock says afterwards: what it decided before is repeated, down to the last bit."""
    often, uneven = ("trainer.save_every=9", "trainer.evaluate_every=5"), SPEEDS["slower than measured, and uneven"]
    whole = Watch(uneven)
    finished = hours(tmp_path / "whole", *often, budget=40)
    go(finished, whole)
    for kill in (1, 9, 20):
        run, kept = hours(tmp_path / str(kill), *often, budget=40), (kill - 1) // 9 * 9
        before, after = Watch(uneven, kill=kill), Watch(lambda step: 1.6, time=1e6)
        with pytest.raises(Killed):
            go(run, before)
        used = run.checkpoint.progress.used_seconds if kept else 0.0
        decided = len(run.folder.decisions_log().read(1))
        ended = go(run, after)
        assert before.records == whole.records[: len(before.records)]
        again = after.records[: sum(record["step"] > kept for record in before.records)]
        assert again == [record for record in before.records if record["step"] > kept]
        assert ended.plan.decisions[:decided] == finished.checkpoint.progress.decisions[:decided]
        # The time that the run lay stopped is not counted, nor are steps that were lost; those that are taken are.
        assert 35 <= run.checkpoint.progress.used_seconds <= 41
        assert after.time - 1e6 == pytest.approx(run.checkpoint.progress.used_seconds - used)


def test_recorded_decisions_are_replayed_by_another_run(tmp_path: Path) -> None:
    phases = "trainer.phases=[{share: 0.6, sequence_length: 8}, {share: 0.4, batch_size: 4}]"
    first = hours(tmp_path / "first", phases, budget=30, step=(1.0, 1.0))
    again = hours(tmp_path / "again", phases, "trainer.workers=1", budget=30, step=None)
    go(first, Watch(SPEEDS["half as fast from the middle on"]))
    again.folder.decisions_log().replace(first.folder.decisions_log().read(2))
    go(again, slower := Watch(lambda step: 50.0))
    assert slower.time > 500
    assert weights(again) == weights(first)
    assert again.checkpoint.progress.decisions == first.checkpoint.progress.decisions


def test_a_half_written_decision_was_none_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    run = hours(tmp_path / "run", "trainer.save_every=9", budget=20)
    with pytest.raises(Killed):
        go(run, Watch(kill=12))
    path = run.folder.decisions_path
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 12, "total')
    assert run.trainer().plan.decisions == run.folder.decisions_log().read(1)
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b'"step": 5,', b'"step": "5",'))
    with pytest.raises(CheckpointError, match="clock's decisions is damaged"):
        run.trainer()
    path.unlink()  # the checkpoint knows them up to its step
    assert run.trainer().plan.decisions == run.checkpoint.progress.decisions


SOUND: dict[str, Any] = asdict(
    Decision(step=0, total_steps=20, position=0.0, length=20, hours=1.0, used=0.5, costs=Costs(step=(1.0,)))
)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"position": math.nan}, "not finite"),
        ({"used": math.inf}, "not finite"),
        ({"position": 20.5}, "position is not within length"),
        ({"step": 5}, "first step is not 0"),
        ({"total_steps": 10**30}, "total_steps is not from"),
        ({"total_steps": -5}, "total_steps is not from"),
        ({"length": 0}, "length is not from"),
        ({"hours": 0.0}, "hours is not above 0"),
        ({"used": -1.0}, "used is less than 0"),
        ({"costs": {"step": []}}, "costs.step has not 1 numbers"),
        ({"costs": {"step": [1.0, 1.0]}}, "costs.step has not 1 numbers"),
        ({"costs": {"step": [0.0]}}, "cost is not above 0"),
        ({"costs": {"step": [1.0], "checkpoint": -0.5}}, "cost is less than 0"),
    ],
)
def test_a_decision_that_no_clock_makes_is_told(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    log = DecisionLog(tmp_path / "clock.jsonl")
    log.path.write_text(json.dumps(SOUND) + "\n")
    assert [asdict(decision) for decision in log.read(1)] == [SOUND]
    log.path.write_text(json.dumps({**SOUND, **changed}) + "\n")
    with pytest.raises(CheckpointError, match=f"line 1: .*{told}") as caught:
        log.read(1)
    assert caught.value.exit_code == 4


def test_decisions_about_steps_in_reverse_are_told(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "clock.jsonl")
    log.path.write_text("".join(json.dumps({**SOUND, "step": step}) + "\n" for step in (0, 6, 6)))
    assert [decision.step for decision in log.read(1)] == [0, 6, 6]  # the budget may change at a step
    log.path.write_text("".join(json.dumps({**SOUND, "step": step}) + "\n" for step in (0, 6, 5)))
    with pytest.raises(CheckpointError, match="line 3: step is less"):
        log.read(1)


def test_a_record_without_an_end_is_not_read(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "clock.jsonl")
    with log.path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match=r"bytes, more than decisions need"):
        log.read(1)


def test_a_decision_that_the_disk_takes_in_part_is_none(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "clock.jsonl")
    first, second = (Decision(**{**SOUND, "step": step, "costs": Costs(step=(1.0,))}) for step in (0, 2))
    log.append(first)
    most = log.path.stat().st_size * 3 // 2

    def act() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        log.append(second)

    assert in_child(act) == 7
    assert log.path.stat().st_size == most
    assert log.read(1) == (first,)


def test_all_processes_follow_the_clock_of_the_first(tmp_path: Path) -> None:
    def act() -> None:
        import torch.distributed

        run = hours(tmp_path / "run", budget=30)
        made = run.trainer()
        rank = made.setup.group.rank
        watch = Watch(lambda step: 1.0 + rank * 100)
        if made.setup.reporter is not None:
            made.setup.reporter.close()
        reporter = watch if rank == 0 else None
        trainer = Trainer(replace(made.setup, reporter=reporter, now=watch.now), made.module, made.state, made.progress)
        trainer.run()
        steps = [decision.total_steps for decision in trainer.plan.decisions]
        (tmp_path / f"{rank}.json").write_text(json.dumps([trainer.progress.step, steps]))
        torch.distributed.barrier()

    hours(tmp_path / "run", budget=30)
    assert in_group(act, 2) == [0, 0]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert 20 < first[0] <= 30


def test_a_phase_to_come_must_be_divisible_too(tmp_path: Path) -> None:
    phases = "trainer.phases=[{share: 0.5}, {share: 0.5, batch_size: 3}]"
    hours(tmp_path / "run", phases, step=(1.0, 1.0))
    assert in_group(lambda: hours(tmp_path / "run", phases).trainer(), 2) == [2, 2]


def test_the_speed_is_measured_before_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    """With the clock of the machine, and a gradient that is not finite: the first weights are those of a run without a clock."""
    overrides = ("trainer.phases=[{share: 0.5, sequence_length: 8, dropout: false}, {share: 0.5}]",)
    measured, plain = hours(tmp_path / "measured", *overrides, budget=1e6, step=None), TinyRun(tmp_path / "plain")

    def act() -> None:
        made, other = measured.trainer(), plain.trainer()
        assert all(
            (other.state.learner.state_dict()[name] == tensor).all() for name, tensor in made.state.learner.state_dict().items()
        )
        decision = made.plan.decisions[0]
        assert 0 < decision.used == made.progress.used_seconds
        assert len(decision.costs.step) == 2
        assert decision == first_decision(made.plan.schedule, decision.costs, measured.settings.trainer, decision.used)
        assert made.setup.settings.trainer.steps == decision.length == decision.total_steps
        assert measured.folder.status()["total_steps"] == measured.folder.config()["trainer"]["steps"] == decision.length
        assert "left, until about" in next(in_words(made.plan, 0.5))

    assert in_child(act, "train.backward@1:nan") == 0


def test_the_most_steps_that_fit_are_those_of_a_walk() -> None:
    for done, left, every, save in ((0, 50.0, 7, 5), (12, 33.3, 4, 9), (20, 8.0, 20, 10), (3, 0.5, 2, 2), (5, 1000.0, 1000, 3)):
        trainer = TrainerSettings(steps=1000, evaluate_every=every, save_every=save)
        costs = Costs(step=(1.5,), validation=2.0, checkpoint=0.7)

        def seconds(steps: int, done: int = done, every: int = every, save: int = save) -> float:
            total = 0.0
            for step in range(done, done + steps + 1):
                last = step == done + steps
                total += 2.0 * (last or (step > 0 and step % every == 0)) + 0.7 * (last or (step > 0 and step % save == 0))
                total += 0.0 if last else 1.5
            return total

        expected = next(steps for steps in range(900) if seconds(steps + 1) > left)
        assert steps_that_fit(plan_phases(trainer), 0.0, done, left, costs, trainer) == expected


def test_what_cannot_go_on_by_the_clock_is_refused(tmp_path: Path) -> None:
    run = hours(tmp_path / "run", "trainer.save_every=9", budget=20)
    with pytest.raises(Killed):
        go(run, Watch(kill=12))
    with pytest.raises(SettingsError, match="began with a budget of hours"):
        TinyRun(tmp_path / "run").trainer()
    fixed = TinyRun(tmp_path / "fixed")
    assert in_child(fixed.go) == 0
    with pytest.raises(SettingsError, match="began without a budget of hours"):
        hours(tmp_path / "fixed").trainer()
    warm = hours(tmp_path / "warm", budget=20)
    schedule = warm.settings.schedule.model_copy(update={"warmup": 500.0})
    object.__setattr__(warm, "settings", warm.settings.model_copy(update={"schedule": schedule}))
    with pytest.raises(
        SettingsErrors, match=r"(?s)schedule.warmup \(500 steps\).*holds about 18 steps\nlower it, raise trainer.hours"
    ):
        warm.trainer()


def test_another_budget_is_used_from_the_checkpoint_on(tmp_path: Path) -> None:
    """As it is with a number of steps: the schedule is then that of the longer run, of which a smaller part was done."""
    run = hours(tmp_path / "run", budget=20)
    go(run, Watch())
    done = run.checkpoint.step
    longer = hours(tmp_path / "run", budget=40)
    trainer = go(longer, watch := Watch())
    assert trainer.progress.step > done + 12
    assert math.isclose(trainer.progress.used_seconds, 40, abs_tol=1.5)
    rates = [record["lr"] for record in watch.records if "lr" in record]
    assert rates == sorted(rates, reverse=True)
    assert 0.4 < rates[0] / run.settings.optimizer.lr < 0.6


def test_a_kill_before_the_first_checkpoint_of_another_budget_changes_nothing(tmp_path: Path) -> None:
    """The checkpoint that the run goes on from knows nothing of the new budget, and ends with a decision about the same step."""
    often = "trainer.save_every=9"
    with pytest.raises(Killed):
        go(hours(tmp_path / "run", often, budget=40), Watch(kill=20))
    longer = hours(tmp_path / "run", often, budget=80)
    saved = longer.checkpoint.progress
    assert (saved.step, saved.decisions[-1].step) == (18, 18)
    with pytest.raises(Killed):
        go(longer, before := Watch(kill=24))
    after = go(longer, again := Watch())
    assert before.records == again.records[: len(before.records)]
    assert [decision.hours * SECONDS for decision in after.plan.decisions if decision.step == 18] == [40, 80]
