"""Epochs become steps in one function, whatever a run reads; and a mix tells how often its texts are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.tiny_text import PRETRAIN, documents

from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.runs.material import with_counted_steps
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings


@pytest.mark.parametrize(
    ("epochs", "rows", "steps"),
    [("3", 100, 10), ("1", 96, 3), ("1", 97, 4), ("0.5", 100, 2), ("1e-3", 5, 1)],
)
def test_steps_are_as_many_as_the_epochs_need(epochs: str, rows: int, steps: int) -> None:
    settings = pretrain_settings(compose([f"trainer.epochs={epochs}", "trainer.batch_size=32"]))
    made = with_counted_steps(settings, rows)
    assert (made.trainer.steps, made.trainer.epochs) == (steps, float(epochs))
    assert made.model_copy(update={"trainer": settings.trainer}) == settings


def test_epochs_cannot_be_more_steps_than_a_run_can_have() -> None:
    settings = pretrain_settings(compose(["trainer.epochs=1000000", "trainer.batch_size=1"]))
    with pytest.raises(SettingsError, match="more than any run needs"):
        with_counted_steps(settings, 2_000_000)


def test_a_number_of_steps_stays() -> None:
    settings = pretrain_settings(compose(["trainer.steps=7"]))
    assert with_counted_steps(settings, 1_000_000) is settings


def test_a_schedule_that_does_not_fit_is_told_with_the_count() -> None:
    settings = pretrain_settings(compose(["trainer.epochs=2", "schedule.warmup=50", "trainer.batch_size=10"]))
    assert with_counted_steps(settings, 500).trainer.steps == 100
    with pytest.raises(SettingsErrors) as told:
        with_counted_steps(settings, 100)
    assert "2 epochs of 100 rows are 20 steps" in str(told.value)


def test_a_text_of_a_mix_that_a_step_reads_over_and_over_is_told(tmp_path: Path) -> None:
    texts, sources = documents(60), {}
    for name, some in (("large", texts[3:]), ("small", texts[:3])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
        sources[name] = f"{{type: jsonl, files: {tmp_path / name}.jsonl, weight: 1}}"
    mix = f"data.sources={{{', '.join(f'{name}: {source}' for name, source in sources.items())}}}"
    chosen = [*PRETRAIN, "data=mix", mix, f"data.prepared_dir={tmp_path / 'prepared'}", "trainer.batch_size=200"]
    material = PreparedText.of(pretrain_settings(compose(chosen)), lambda update: None)
    large, small = material.shares()
    rows = len(material.corpus.stores("train")["small"]) // 14
    assert f", {100 / rows:.1f} times in each step: give it more text, or a smaller weight" in small
    assert "in each step" not in large
