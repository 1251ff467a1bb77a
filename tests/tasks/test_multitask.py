"""Several tasks in one run: their shares against the paper's formulas, their rows, their scores, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.tiny_task import answered_examples, member_examples, multitasker

from plmtrain.data.loading.order import Order, plan_phases
from plmtrain.data.tables.member_tasks import TaskTarget
from plmtrain.data.tables.mixed import MixedExamples, mixing_rates
from plmtrain.errors import DataError, SettingsErrors
from plmtrain.metrics import written
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.settings.run import FinetuneSettings
from plmtrain.settings.trainer import TrainerSettings

T5 = (
    "task=multitask model=t5_small model.layers=1 model.width=16 model.heads=2 model.head_width=8 model.feed_forward=32 "
    "tokenizer.vocab_size=300 trainer.sequence_length=40 trainer.batch_size=4 trainer.steps=2 schedule.warmup=0"
).split()


@pytest.mark.parametrize(("limit", "temperature"), [(None, 1.0), (100, 1.0), (None, 2.0), (300, 4.0), (10, 1.0)])
def test_rates_are_those_of_the_paper(limit: int | None, temperature: float) -> None:
    """Raffel et al. 2020, section 3.5.2: r_m = min(e_m, K) / sum of min(e_n, K), raised to 1/T and renormalised."""
    sizes = [1000, 200, 50]
    rates = [min(size, limit or 10**9) / sum(min(other, limit or 10**9) for other in sizes) for size in sizes]
    scaled = np.array([rate ** (1 / temperature) for rate in rates])
    assert mixing_rates(sizes, limit, temperature) == pytest.approx(scaled / scaled.sum())


@pytest.mark.parametrize(("limit", "temperature"), [(None, 1.0), (7, 1.0), (None, 3.0)])
def test_an_epoch_has_every_row_and_the_shares(limit: int | None, temperature: float) -> None:
    sizes = [23, 9, 4]
    rows = answered_examples(sum(sizes), 12)
    rates = mixing_rates(sizes, limit, temperature)
    mixed = MixedExamples(rows, sizes, rates)
    counts = Counter(mixed.origins(np.arange(len(mixed))).tolist())
    assert set(counts) == set(range(36))
    ends = np.cumsum(sizes)
    read = [sum(counts[row] for row in range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    assert min(counts.values()) == 1
    assert np.array(read) == pytest.approx(rates * len(mixed), abs=1)
    for size, end in zip(sizes, ends, strict=True):  # within a task, all rows are read equally often
        times = [counts[row] for row in range(end - size, end)]
        assert max(times) - min(times) <= 1
    if limit is None and temperature == 1:
        assert len(mixed) == 36
    some = np.array([len(mixed) - 1, 0, 5])
    ours, theirs = mixed.fetch(some), rows.fetch(mixed.origins(some))
    assert (ours.tokens == theirs.tokens).all()
    assert (mixed.sizes[some] == rows.sizes[mixed.origins(some)]).all()


def test_the_rows_of_a_step_follow_from_the_seed_and_the_step() -> None:
    """Whatever was read before; and over an epoch of steps, the shares are exact."""
    mixed = member_examples(36, 12)
    phases = plan_phases(TrainerSettings(steps=24, batch_size=4))
    order = Order(3, phases)
    drawn = [mixed.origins(order.step_samples(step, len(mixed), sizes=mixed.sizes).samples) for step in range(24)]
    again = Order(3, phases).step_samples(17, len(mixed), sizes=mixed.sizes)
    assert (mixed.origins(again.samples) == drawn[17]).all()
    epoch = np.concatenate(drawn)[: len(mixed)]
    assert len(mixed) == 48
    assert (epoch < 12).sum() == 24


def test_each_task_is_scored_by_its_own_metrics() -> None:
    answering = multitasker().answering
    assert answering.scored == ("long/chrf", "short/accuracy", "short/exact_match", "average")
    right = [TaskTarget("long", "a big cat"), TaskTarget("short", "yes"), TaskTarget("short", "The no")]
    scores = answering.score([{"prediction": text} for text in ("a big dog", "yes", "no")], right)
    chrf = written.measure("chrf", ["a big dog"], ["a big cat"], "13a")
    assert scores == pytest.approx(
        {"long/chrf": chrf, "short/accuracy": 0.5, "short/exact_match": 1.0, "average": (chrf / 100 + 0.75) / 2}
    )
    assert (multitasker().selection.measure, multitasker().selection.higher) == ("average", True)


def material(folder: Path, *overrides: str) -> LabelledExamples:
    """Two tasks in a folder, one of them with held-out examples of its own."""
    (folder / "a.tsv").write_text("label\tsentence\n" + "".join(f"{number % 2}\ttext {number}\n" for number in range(30)))
    lines = [{"en": f"one {number}", "de": f"eins {number}"} for number in range(8)]
    (folder / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    tasks = (
        f"{{sst2: {{files: {folder}/a.tsv, text: sentence, target: label, metrics: [accuracy]}}, "
        f"en-de: {{files: {folder}/b.jsonl, validation_files: {folder}/dev.jsonl, text: en, target: de, "
        "template: 'translate: {en}'}}"
    )
    settings = settings_for("finetune", [*T5, f"task.tasks={tasks}", f"data.prepared_dir={folder}/p", *overrides])
    assert isinstance(settings, FinetuneSettings)
    return LabelledExamples.of(settings, lambda update: None)


def test_tables_become_rows_that_name_their_task(tmp_path: Path) -> None:
    given = material(tmp_path, "task.size_limit=8", "task.metrics=[chrf]", "data.validation_fraction=0.3")
    train, held_out = (given.examples.splits[split] for split in ("train", "validation"))
    rows = {example.texts[0]: example.reference for example in train}
    assert rows["translate: one 3"] == TaskTarget("en-de", "eins 3")
    assert all(rows[f"sst2 sentence: text {n}"].text == str(n % 2) for n in range(30) if f"sst2 sentence: text {n}" in rows)
    sizes = Counter(example.reference.task for example in train)
    held = [example.reference.task for example in held_out]
    assert sizes["en-de"] == 8
    assert held.count("en-de") == 2
    assert sizes["sst2"] + held.count("sst2") == 30
    assert "en-de" in held[: len(held) // 2]  # a part of the validation has every task
    (phase,) = plan_phases(given.settings.trainer)
    (program,) = given.programs([phase])
    assert len(given.rows("train", program, phase)) == 2 * sizes["sst2"]  # equal shares at this limit
    assert len(given.rows("validation", program, phase)) == len(held_out)
    assert "en-de 8 (50.0% of the rows)" in given.opening()
    answering = program.answering
    lines = ["translate: one 3", '{"text": "translate: one 3"}', '{"task": "en-de", "en": "one 3"}']
    asked = answering.questions(lines, given.tokenizer)
    assert (asked.tokens == asked.tokens[0]).all()
    assert answering.columns_of(lines[2]) == {"text": lines[0]}
    for line, told in (('{"task": "sst", "sentence": "x"}', "there is no task 'sst'"), ('{"task": "sst2"}', "no 'sentence'")):
        with pytest.raises(DataError, match=told):
            answering.questions([line], given.tokenizer)
    alike = [[{"prediction": text}] * len(held_out) for text in ("1", "eins 0")]
    assert [answering.review(given.examples, answers).collapsed for answers in alike] == [True, True]
    assert not answering.review(given.examples, [{"prediction": f"{one.reference.text}?"} for one in held_out]).collapsed
    assert (given.settings.measure, given.settings.higher_is_better) == (program.selection.measure, program.selection.higher)
    said = answering.closing(given.examples, [{"prediction": "1"}] * len(held_out), 0.5)
    assert {row[1] for row in said[0].rows} == {"sst2", "en-de"}
    assert [row[0] for row in said[1].rows] == ["en-de chrf", "sst2 accuracy", "average"]
    assert str(said[2]).startswith("en-de: chrF2|nrefs:1|")
    with pytest.raises(DataError, match=r"task\.tasks\.sst2\.text"):
        material(tmp_path, "task.tasks.sst2.text=words")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("task.tasks={a:{files:a}}", "tasks names only a"),
        ("task.tasks={a:{files:a},b:{text:c}}", "task.tasks.b.files"),
        ("task.tasks={a:{files:a},b:{files:b,target:text}}", "must be different columns"),
        ("task.tasks={a:{files:a},b:{files:b,template:c}}", "lacks {text}"),
        ("task.tasks={a:{files:a},b:{files:b,prefix:c}}", "there is no setting 'task.tasks.b.prefix'"),
        ("task.tasks={a:{files:a},b:{files:b}} task.metrics=[loss,bleu]", "loss among others"),
        ("task.tasks={a:{files:a},b:{files:b,metrics:[bleu]}} task.metrics=[loss]", "names metrics of its own"),
        ("task.tasks={a:{files:a},b:{files:b}} data.files=[c]", "data.files has no effect"),
        ("task.tasks={a:{files:a},b:{files:b}} task.mixing_temperature=0", "task.mixing_temperature"),
        ("task.tasks={a:{files:a},b:{files:b}} task.folder=c", "each of the tasks names its own files"),
    ],
)
def test_settings_without_a_meaning_are_refused(chosen: str, words: str) -> None:
    with pytest.raises(SettingsErrors, match=words):
        settings_for("finetune", ["task=multitask", "model=bart", *chosen.split()])
