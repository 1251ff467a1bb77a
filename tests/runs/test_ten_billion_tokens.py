"""A prepared text of ten billion tokens, in files with holes: opened, stepped and resumed at nine tenths at once."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_text import TEXT, write_texts

from plmtrain.data.corpus import corpus_manifest
from plmtrain.data.corpus.staging import NpyWriter
from plmtrain.files import write_json_atomically
from plmtrain.runs.assembly import assemble
from plmtrain.runs.prepared_text import PreparedText
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.trainer import Trainer

TOKENS = 10_000_000_000
DOCUMENT = 1_000_000
LENGTH, BATCH = 16, 8
RUN = (
    "model=gpt2 objective=clm model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 "
    f"trainer.threads=1 trainer.sequence_length={LENGTH} trainer.batch_size={BATCH} trainer.epochs=1 trainer.precision=fp32 "
    "trainer.device=cpu tokenizer.vocab_size=300 data.processes=1"
).split()


def enlarge(folder: Path) -> None:
    """Give the training text of a prepared folder ten billion tokens, of which all but the first ones are zeros without a place
    on the disk."""
    manifest, place = corpus_manifest.read(folder), folder / "train"
    for name in ("tokens", "word_starts"):
        text = np.load(place / f"{name}.npy")
        (place / f"{name}.npy").unlink()
        writer = NpyWriter(place / f"{name}.npy", text.dtype)
        writer.write(text)
        writer._length = TOKENS
        writer.close()
        with (place / f"{name}.npy").open("r+b") as file:
            file.truncate(file.seek(0, 2) + (TOKENS - len(text)) * text.dtype.itemsize)
    for name in ("documents", "sentences"):
        np.save(place / f"{name}.npy", np.arange(0, TOKENS + 1, DOCUMENT))
    sizes = {file.name: file.stat().st_size for file in place.iterdir()}
    train = replace(manifest.splits["train"], tokens=TOKENS, bytes=sizes)
    write_json_atomically(folder / "manifest.json", asdict(replace(manifest, splits={**manifest.splits, "train": train})))


def started(folder: Path) -> tuple[Trainer, float]:
    """Make a run's text ready, assemble its trainer, and take its next step; return it, and the seconds of the processor."""
    began = time.process_time()
    torch.set_num_threads(1)
    material = PreparedText.of(pretrain_settings(compose([*RUN, *TEXT])), lambda update: None)
    run = RunFolder(folder)
    if not run.status():
        run.create().write_status("preparing")
    trainer = assemble(material, run, "ten-billion")
    number, batches = next(trainer._load())
    assert number == trainer.progress.step
    trainer._step(number, batches)
    return trainer, time.process_time() - began


def test_a_run_is_opened_stepped_and_resumed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    started(tmp_path / "small")  # prepares the text, and imports what a step needs
    _, usual = started(tmp_path / "usual")
    (prepared,) = (tmp_path / "prepared").glob("text-*")
    enlarge(prepared)
    trainer, opened = started(tmp_path / "large")
    assert opened - usual < 2
    assert sum(file.stat().st_blocks * 512 for file in prepared.rglob("*.npy")) < 2**22
    steps = -(-(TOKENS // LENGTH) // BATCH)
    assert trainer.setup.settings.trainer.steps == steps
    late = steps * 9 // 10
    trainer.progress = replace(trainer.progress, step=late)
    trainer.save()
    again, resumed = started(tmp_path / "large")
    assert again.progress.step == late + 1
    assert resumed - usual < 2
