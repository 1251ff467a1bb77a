"""Translation language modelling: rows as the paper has them, the loss that transformers computes, and what it learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.parallel_store import corpus
from torch import Tensor

from plmtrain import backbones
from plmtrain.data.rows.translations import LanguageRows, Translations
from plmtrain.keyed_random import Keys
from plmtrain.objectives.tlm import TranslationLM
from plmtrain.programs.masked.program import MaskedLearner
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.tlm import TranslationLMSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(64, {"pad": 2, "unk": 4, "cls": 3, "sep": 3, "mask": 1}, (0, 1, 2, 3, 4))
SHAPE: dict[str, Any] = {"layers": 2, "width": 32, "heads": 4, "feed_forward": 128, "positions": 40, "dropout": 0.0}
MODEL = EncoderSettings(
    name="xlm",
    family="xlm",
    segments=0,
    languages=("en", "de", "ko"),
    head_layer=False,
    initial_by_width=True,
    attention_dropout=0.0,
    **SHAPE,
)


def program(model: EncoderSettings = MODEL, **changes: Any) -> TranslationLM:
    return TranslationLM(TranslationLMSettings(name="tlm", **changes), model, VOCABULARY)


def rows_of(count: int, *, share: float = 0.5, same: bool = False, seed: int = 0) -> LanguageRows:
    source = Translations(corpus(60, seed, languages=3, same=same), 30, translation_share=share, exponent=0.7)
    return source.fetch(np.arange(count) % len(source))


def keys(count: int, epoch: int = 0) -> Keys:
    return Keys(5, np.full(count, epoch), np.arange(count))


def learner_of(made: TranslationLM, seed: int = 0) -> MaskedLearner:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    return made.build(lambda model: backbones.build(model, VOCABULARY.size))


def loss_of(made: TranslationLM, learner: MaskedLearner, rows: LanguageRows, epoch: int = 0) -> Tensor:
    batch = made.collate(rows, keys(len(rows), epoch))
    terms, _ = made.loss(learner, batch, {})
    return terms["mlm"].total / terms["mlm"].normaliser


def test_rows_are_the_papers() -> None:
    """Both sides between end marks, positions from 0 in each, the language of each, masks in both, in either order."""
    made, rows = program(), rows_of(120)
    batch = made.collate(rows, keys(120))
    ids = batch.inputs.ids.clone().reshape(-1)
    positions = batch.targets["positions"]
    ids[positions] = batch.targets["labels"]
    original = ids.reshape(batch.inputs.ids.shape).numpy()
    assert original.shape[1] == 32
    other = rows.others
    assert isinstance(other, LanguageRows)
    turned = 0
    for row in range(120):
        sides = [(rows.tokens[row, : rows.lengths[row]].tolist(), rows.languages[row])]
        if other.lengths[row]:
            sides.append((other.tokens[row, : other.lengths[row]].tolist(), other.languages[row]))
            if original[row, 1] != sides[0][0][0]:
                sides.reverse()
                turned += 1
        expected, places, languages = [], [], []
        for text, language in sides:
            expected += [3, *text, 3]
            places += range(len(text) + 2)
            languages += [language] * (len(text) + 2)
        assert original[row, : len(expected)].tolist() == expected
        assert set(original[row, len(expected) :].tolist()) <= {2}
        assert batch.inputs.positions[row, : len(places)].tolist() == places
        assert batch.inputs.segments[row, : len(places)].tolist() == languages
        assert batch.layout.tokens[row].sum() == len(expected)
    translated = int((other.lengths > 0).sum())
    assert 0.25 < turned / translated < 0.75

    column, row_of = positions.numpy() % 32, positions.numpy() // 32
    second = column >= np.where(other.lengths > 0, (batch.inputs.positions.numpy()[:, 1:] == 0).argmax(axis=1) + 1, 99)[row_of]
    assert 0.3 < second[other.lengths[row_of] > 0].mean() < 0.7
    assert not VOCABULARY.is_special[batch.targets["labels"].numpy()].any()
    assert batch.normalisers == {"mlm": len(positions), "tokens": float(batch.layout.tokens.sum())}


def test_noise_is_of_the_row_and_its_key_alone() -> None:
    made, rows = program(), rows_of(24)
    whole = made.collate(rows, keys(24))
    again = program().collate(rows, keys(24))
    assert torch.equal(whole.inputs.ids, again.inputs.ids)
    source = Translations(corpus(60, languages=3), 30, translation_share=0.5, exponent=0.7)
    part = made.collate(source.fetch(np.arange(7, 12)), Keys(5, np.zeros(5, np.int64), np.arange(7, 12)))
    for name in ("ids", "segments", "positions"):
        assert torch.equal(getattr(part.inputs, name), getattr(whole.inputs, name)[7:12]), name
    assert not torch.equal(made.collate(rows, keys(24, epoch=1)).inputs.ids, whole.inputs.ids)


def test_micro_batches_add_up() -> None:
    made = program()
    learner = learner_of(made)
    source = Translations(corpus(60, languages=3), 30, translation_share=0.5, exponent=0.7)
    totals, counted = [], []
    for size in (12, 3):
        total, normaliser = torch.zeros(()), 0.0
        for first in range(0, 12, size):
            index = np.arange(first, first + size)
            batch = made.collate(source.fetch(index), Keys(5, np.zeros(size, np.int64), index))
            term = made.loss(learner, batch, {})[0]["mlm"]
            total, normaliser = total + term.total, normaliser + term.normaliser
        totals.append(float(total.detach()))
        counted.append(normaliser)
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    assert counted[0] == counted[1]


def test_every_parameter_gets_a_gradient() -> None:
    """Positions up to the longest row, and every language."""
    made = program(replace_positions(MODEL))
    learner = learner_of(made)
    loss_of(made, learner, rows_of(96)).backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    languages = learner.get_parameter("backbone.embeddings.segment.weight").grad
    assert bool((languages.abs().sum(dim=1) > 0).all())


def replace_positions(model: EncoderSettings) -> EncoderSettings:
    return model.model_copy(update={"positions": 32})


@pytest.mark.parametrize("model", [MODEL, MODEL.model_copy(update={"languages": (), "head_layer": True})], ids=["xlm", "plain"])
def test_eight_rows_are_overfitted(model: EncoderSettings) -> None:
    made, rows = program(model), rows_of(8)
    learner = learner_of(made)
    optimizer = torch.optim.Adam(learner.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        loss = loss_of(made, learner, rows)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1


def test_the_translation_is_read() -> None:
    """Where a translation says the same, a model soon copies from it, and loses more where it is not there."""
    made = program(frequency_exponent=0.0, mask_share=1.0, random_share=0.0)
    learner = learner_of(made)
    optimizer = torch.optim.Adam(learner.parameters(), lr=4e-3)
    for epoch in range(220):
        rows = rows_of(48, share=1.0, same=True, seed=epoch % 3)
        optimizer.zero_grad()
        loss_of(made, learner, rows, epoch).backward()
        optimizer.step()
    held_out = rows_of(100, share=1.0, same=True, seed=9)
    with torch.no_grad():
        beside = float(loss_of(made, learner, held_out))
        alone = float(loss_of(made, learner, hidden(held_out)))
    assert beside < alone - 0.5


def hidden(rows: LanguageRows) -> LanguageRows:
    """The same rows without their translations."""
    assert rows.others is not None
    return replace(rows, others=replace(rows.others, lengths=np.zeros_like(rows.lengths)))


def test_loss_and_gradients_are_transformers() -> None:
    import transformers

    config = transformers.XLMConfig(
        vocab_size=64, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=40, n_langs=3, attn_implementation="eager"
    )
    theirs = transformers.XLMWithLMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for index, parameter in enumerate(theirs.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.05 + 0.05 * (index % 5)))
    made = program()
    ours = learner_of(made).eval()
    from plmtrain.interop.families.xlm import FAMILY

    state = theirs.state_dict()
    for module, names, prefix in (
        (ours.backbone, FAMILY.backbone(MODEL), "transformer."),
        (ours.head, FAMILY.heads[type(ours.head)].names, ""),
    ):
        module.load_state_dict(
            {key: source.join([state[prefix + name] for name in source.names]) for key, source in names.items()}
        )
    batch = made.collate(rows_of(12), keys(12))
    labels = torch.full(batch.inputs.ids.shape, -100).reshape(-1)
    labels[batch.targets["positions"]] = batch.targets["labels"]
    expected = theirs(
        batch.inputs.ids,
        attention_mask=batch.layout.tokens.long(),
        langs=batch.inputs.segments,
        position_ids=batch.inputs.positions,
        labels=labels.reshape(batch.inputs.ids.shape),
    ).loss
    term = made.loss(ours, batch, {})[0]["mlm"]
    loss = term.total / term.normaliser
    assert abs(loss - expected) < 1e-5 * expected
    expected.backward()
    loss.backward()
    gradients = dict(theirs.named_parameters())
    for key, source in FAMILY.backbone(MODEL).items():
        own = ours.backbone.get_parameter(key).grad
        for name, part in zip(source.names, source.split(own), strict=True):
            theirs_grad = gradients[f"transformer.{name}"].grad
            assert (part - theirs_grad).abs().max() < 1e-5 * max(1.0, float(theirs_grad.abs().max())), name


def test_measures_tell_languages_apart() -> None:
    made, rows = program(), rows_of(200)
    learner = learner_of(made).eval()
    batch = made.collate(rows, keys(200))
    with torch.no_grad():
        term = made.loss(learner, batch, {})[0]["mlm"]
    counts = {f"mlm/{name}": count.numpy() for name, count in term.counts.items() if count.dim()}
    shares = corpus(60, languages=3).shares
    measured = made.measures(counts, -np.log(shares))
    by_language = {f"mlm/loss_{kind}_{name}" for kind in ("alone", "translated") for name in ("en", "de", "ko")}
    assert set(measured) == {"hidden_loss", "hidden_unigram_loss"} | by_language
    masked = batch.inputs.ids.flatten()[batch.targets["positions"]].numpy() == VOCABULARY["mask"]
    expected = -np.log(shares[batch.targets["labels"].numpy()[masked]]).mean()
    assert measured["hidden_unigram_loss"] == pytest.approx(expected)
    sums = counts["mlm/kinds"]
    assert sums[:, 0].sum() == pytest.approx(float(term.total), rel=1e-5)
    assert sums[:, 1].sum() == term.normaliser


def test_a_mask_in_either_side_is_filled() -> None:
    made = program()
    learner = learner_of(made).eval()
    rows = rows_of(40, share=1.0)
    other = rows.others
    assert isinstance(other, LanguageRows)
    chosen = np.flatnonzero((rows.lengths > 2) & (other.lengths > 2))[:3]
    first, second = rows.tokens.copy(), other.tokens.copy()
    first[chosen[0], 1] = second[chosen[1], 2] = first[chosen[2], 0] = second[chosen[2], 0] = VOCABULARY["mask"]
    asked = replace(rows, tokens=first, others=replace(other, tokens=second))
    answers = made.answering.predict(learner, made.answering.collate(asked))
    filled = [[(mask["side"], mask["position"]) for mask in answers[row]["masks"]] for row in chosen]
    assert filled == [[(0, 1)], [(1, 2)], [(0, 0), (1, 0)]]
    assert len(answers[chosen[0]]["masks"][0]["candidates"]) == 5


def test_inspection() -> None:
    made, rows = program(), rows_of(300)
    shown = made.inspect(made.collate(rows, keys(300)))
    part, whole = shown.rates["rows with a translation"]
    assert whole == 300
    assert part == int((rows.others.lengths > 0).sum())
    assert sum(shown.rates[f"sides in {name}"][0] for name in MODEL.languages) == 300 + part
    labels = {label for row in shown.rows for label in row.lines}
    assert "original (en)" in labels
    assert {"original (en > de)", "original (de > en)"} <= labels
