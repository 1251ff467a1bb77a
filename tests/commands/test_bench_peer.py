"""The peer of ``plmtrain bench``: transformers' own classes read the same rows, and its Trainer takes a step when asked to."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from support.memory_rows import memory_rows, vocabulary_of

from plmtrain import backbones, objectives
from plmtrain.commands.bench.peer import environment_of, publish, write_rows
from plmtrain.commands.bench.peer_rows import IGNORED, collator_for
from plmtrain.commands.bench.transformers_trainer import STEP, Examples, Job, collator_of, model_of, tokenizer_of, train
from plmtrain.data.loading.order import Order, plan_phases
from plmtrain.errors import SettingsError
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.step import whole_loss

SHAPE = (
    "model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.dropout=0 model.attention_dropout=0 "
    "trainer.sequence_length=24 trainer.batch_size=4 trainer.steps=3"
).split()


class Published:
    """A program and its learner, published for the peer with the rows of two steps."""

    def __init__(self, folder: Path, *words: str) -> None:
        torch.set_num_threads(1)
        settings = pretrain_settings(compose([*SHAPE, *words]))
        vocabulary = vocabulary_of(settings.tokenizer.family)
        self.program: Any = objectives.build(settings.objective, settings.model, vocabulary)
        self.learner = self.program.build(lambda model: backbones.build(model, vocabulary.size))
        (phase,) = plan_phases(settings.trainer)
        rows: Any = memory_rows(self.program, phase, 8, 0)
        tokenizer = SimpleNamespace(vocabulary=vocabulary, save=lambda folder: save_tokenizer(folder, vocabulary))
        material: Any = SimpleNamespace(tokenizer=tokenizer, settings=settings)
        publish(folder, self.learner, material)
        write_rows(folder / "rows.safetensors", self.program, rows, phase, settings.seed, steps=2)
        keys = Order(settings.seed, [phase]).step_samples(0, len(rows))
        self.batch = self.program.collate(rows.fetch(keys.samples), keys)
        self.job = Job(
            folder=str(folder),
            rows=str(folder / "rows.safetensors"),
            collator=collator_for(self.program),
            hidden=0.15,
            batch_size=4,
            micro_batch_size=2,
            steps=2,
            device="cpu",
            threads=1,
            precision="fp32",
            learning_rate=1e-3,
            recomputed=False,
            compiled=False,
        )

    def first_batch(self) -> Any:
        """What transformers' collator makes of the rows of the first step."""
        examples = Examples(self.job.rows)
        assert len(examples) == 8
        return collator_of(self.job, tokenizer_of(self.job))([examples[row] for row in range(4)])


def save_tokenizer(folder: Path, vocabulary: Vocabulary) -> None:
    """Write a tokenizer whose words are numbers, with the special tokens of a vocabulary."""
    names = {place: f"<{role}>" for role, place in vocabulary.roles.items()}
    ids = {names.get(number, f"t{number}"): number for number in range(vocabulary.size)}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token=None)).save(str(folder / "tokenizer.json"))
    roles = {f"{role}_token": names[place] for role, place in vocabulary.roles.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **roles}))


@pytest.mark.parametrize(
    "words", [("model=t5_base", "objective=span_corruption", "model.head_width=8"), ("model=bart", "objective=bart")]
)
def test_an_encoder_decoder_has_the_same_loss(words: tuple[str, ...], tmp_path: Path) -> None:
    """The same weights, the same corrupted rows: what their class computes of them is our loss."""
    made = Published(tmp_path, *words)
    terms, _ = made.program.loss(made.learner.eval(), made.batch, {})
    theirs = model_of(made.job).eval()(**made.first_batch()).loss
    assert theirs.item() == pytest.approx(whole_loss(terms, made.batch.normalisers).item(), rel=1e-5)


def test_a_model_whose_head_transformers_lacks_is_refused(tmp_path: Path) -> None:
    """It has no class with the mask decoder of He et al. (2020)."""
    with pytest.raises(SettingsError, match=r"no class with the heads of model=deberta, only Deberta\w*Model"):
        Published(tmp_path, "model=deberta", "objective=dynamic_mlm")


def test_a_masked_language_model_hides_the_same_rows(tmp_path: Path) -> None:
    made = Published(tmp_path, "model=bert", "objective=dynamic_mlm")
    batch = made.first_batch()
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    labels, ours = batch["labels"].numpy(), made.batch.inputs.ids.numpy().copy()
    theirs = np.where(labels == IGNORED, batch["input_ids"].numpy(), labels)
    ours.reshape(-1)[made.batch.targets["positions"].numpy()] = made.batch.targets["labels"].numpy()
    assert np.array_equal(theirs, ours)
    assert (labels != IGNORED).any()


def test_pairs_keep_their_segments_and_labels(tmp_path: Path) -> None:
    made = Published(tmp_path, "model=bert", "objective=nsp")
    batch = made.first_batch()
    assert batch["next_sentence_label"].tolist() == made.batch.targets["pairs"].tolist()
    assert torch.equal(batch["token_type_ids"], made.batch.inputs.segments)
    assert torch.isfinite(model_of(made.job)(**batch).loss)


@pytest.mark.parametrize(("visible", "seen"), [(None, "0"), ("", "0"), ("3", "3"), ("2,0,1", "2"), ("GPU-7f, GPU-3a", "GPU-7f")])
def test_of_several_gpus_it_sees_the_first(visible: str | None, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert environment_of(torch.device("cuda:0"))["CUDA_VISIBLE_DEVICES"] == seen
    assert environment_of(torch.device("cpu")).get("CUDA_VISIBLE_DEVICES") == visible


def test_a_step_whenever_it_is_asked_for(tmp_path: Path) -> None:
    """By the Trainer itself, in two micro-batches; it waits before each step, and ends when nothing more is asked."""
    made = Published(tmp_path, "model=gpt2", "objective=clm")
    batch = made.first_batch()
    assert torch.equal(batch["input_ids"], made.batch.inputs.ids)
    predicted = batch["labels"] != IGNORED  # all but those that have the id of the padding token
    assert torch.equal(batch["labels"][predicted], batch["input_ids"][predicted])
    assert predicted.float().mean() > 0.5
    answers: list[dict[str, Any]] = []
    answered_before = []

    def asked() -> Any:
        for word in (STEP, "end"):
            answered_before.append(len(answers))
            yield word

    train(made.job, asked(), answers.append)
    assert answered_before == [1, 2]
    assert answers[0] == {}
    assert answers[1]["seconds"] > 0
