"""Texts as answers: loss and gradients against transformers' class, what is read and written, and that it learns."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.bart_twin import twin_of
from support.memory_rows import vocabulary_of
from support.sentence_twin import randomise
from support.tiny_task import answered_examples, tiny_model, writer
from torch.nn import functional

from plmtrain import backbones
from plmtrain.batch import Batch
from plmtrain.errors import DataError, SettingsError, SettingsErrors
from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.keyed_random import Keys
from plmtrain.programs.writing import WritingLearner
from plmtrain.runs.command_settings import settings_for
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.generation import GenerationSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.tasks.sequence_to_sequence import SequenceToSequence
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

torch.set_num_threads(1)
ROWS = 6
DRY = ("model.dropout=0", "model.attention_dropout=0")


def learner_of(task: SequenceToSequence) -> WritingLearner:
    torch.manual_seed(0)
    learner = task.build(lambda model: backbones.build(model, task.vocabulary.size))
    randomise(learner)
    return learner


def batch_of(task: SequenceToSequence, count: int = ROWS, **more: Any) -> Batch:
    rows = answered_examples(count, task.row_shape(task.sequence_length).length, **more).fetch(np.arange(count))
    return task.collate(rows, Keys(0, np.zeros(count, np.int64), np.arange(count)))


def labels_of(batch: Batch) -> torch.Tensor:
    """As transformers takes them: -100 where nothing is predicted."""
    assert batch.inputs.decoder is not None
    labels = torch.full(batch.inputs.decoder.ids.shape, -100)
    labels.view(-1)[batch.targets["places"]] = batch.targets["labels"]
    return labels


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_and_gradients_are_those_of_transformers(pairs: bool, smoothing: float) -> None:
    columns = ("first", "second") if pairs else ("text",)
    task = writer(tiny_model("bart", *DRY), length=24, text=columns, label_smoothing=smoothing)
    learner, batch = learner_of(task).train(), batch_of(task, pairs=pairs)
    other = twin_of(learner.pair, task.vocabulary.roles)
    real, labels = batch.inputs.layout.tokens, labels_of(batch)
    assert real is not None
    assert not real.all()
    assert (labels < 0).any()
    scores = other(input_ids=batch.inputs.ids, attention_mask=real.long(), labels=labels).logits
    flat = scores.flatten(0, 1), labels.flatten()
    theirs = functional.cross_entropy(*flat, label_smoothing=smoothing)
    (term,) = task.loss(learner, batch, {})[0].values()
    assert term.normaliser == float((labels >= 0).sum())
    torch.testing.assert_close(term.total / term.normaliser, theirs, atol=1e-5, rtol=1e-5)
    (term.total / term.normaliser).backward()
    theirs.backward()
    grad = learner.backbone.embedding_weight.grad
    torch.testing.assert_close(grad, other.model.shared.weight.grad, atol=1e-6, rtol=1e-4)
    (plain,) = task.loss(learner.eval(), batch, {})[0].values()
    torch.testing.assert_close(plain.total / term.normaliser, functional.cross_entropy(*flat), atol=1e-5, rtol=1e-5)


def test_rows_begin_and_end_as_the_family_writes_them() -> None:
    task = writer(length=10, target_length=5)
    batch, rows = batch_of(task), answered_examples(ROWS, 8).fetch(np.arange(ROWS))
    roles, decoder = task.vocabulary.roles, batch.inputs.decoder
    assert rows.answers is not None
    assert decoder is not None
    for row, labels in enumerate(labels_of(batch).tolist()):
        answer = rows.answers.tokens[row, : min(3, rows.answers.lengths[row])].tolist()
        written = [roles["cls"], *answer, roles["sep"]]
        assert [label for label in labels if label >= 0] == written
        assert decoder.ids[row].tolist()[: len(written)] == [roles["sep"], *written[:-1]]
    cut = writer(length=10, target_length=3)
    assert {len([label for label in labels if label >= 0]) for labels in labels_of(batch_of(cut)).tolist()} == {3}
    assert batch.normalisers["tokens"] == float(batch.inputs.layout.tokens.sum()) + batch.normalisers["target"]


def test_languages_are_told_by_embeddings_or_by_tokens() -> None:
    """MASS has one for each language in both stacks; in mBART a token ends each row, and the decoder starts with it."""
    chosen = {"languages": ("de", "en")}
    mass = tiny_model("bart").model_copy(update={"family": "mass", "languages": ("en", "ko", "de"), "position_offset": 0})
    task = writer(mass, length=12, **chosen)
    batch = batch_of(task)
    asked = task.answering.collate(answered_examples(ROWS, 9).fetch(np.arange(ROWS)))
    for inputs in (batch.inputs, asked.inputs):
        assert inputs.decoder is not None
        assert (inputs.segments == 2).all()
        assert (inputs.decoder.segments == 0).all()
        assert (inputs.decoder.ids[:, 0] == task.vocabulary["sep"]).all()
    assert labels_of(batch)[:, 0].tolist() == batch.inputs.decoder.ids[:, 1].tolist()  # nothing is written before the text
    assert len({answer["prediction"] for answer in task.answering.predict(learner_of(task).eval(), asked)}) > 0

    mbart = tiny_model("bart").model_copy(update={"family": "mbart", "languages": ("en", "ko", "de")})
    vocabulary = vocabulary_of("mbart", 90)
    task = SequenceToSequence(writer(mass, **chosen).settings, mbart, vocabulary, 12)
    names = TOKENIZER_FAMILIES["mbart"].languages
    german, english = (vocabulary["mask"] - 25 + names.index(name) for name in ("de_DE", "en_XX"))
    batch = batch_of(task)
    assert batch.inputs.segments is None
    real, decoder = batch.inputs.layout.tokens, batch.inputs.decoder
    assert real is not None
    assert decoder is not None
    for ids, own, labels, read in zip(batch.inputs.ids, real, labels_of(batch), decoder.ids, strict=True):
        assert ids[own].tolist()[-2:] == [vocabulary["sep"], german]
        written = [label for label in labels.tolist() if label >= 0]
        assert written[-2:] == [vocabulary["sep"], english]
        assert read.tolist()[: len(written)] == [english, *written[:-1]]
    with pytest.raises(ValueError, match="must be two of en, ko, de"):
        SequenceToSequence(writer().settings, mbart, vocabulary, 12)


def test_t5_starts_with_its_padding_and_closes_what_it_writes() -> None:
    """Its output layer may be one of its own, so that the loss is that of its scores, not of the token table."""
    words = "model=t5_v1_1_small model.layers=2 model.width=16 model.heads=2 model.head_width=8 model.feed_forward=32"
    model = pretrain_settings(compose([*words.split(), "objective=span_corruption", "trainer.sequence_length=24"])).model
    vocabulary = vocabulary_of("t5", 200)
    task = SequenceToSequence(writer(label_smoothing=0.0).settings, model, vocabulary, 24)
    learner, batch = learner_of(task).train(), batch_of(task)
    decoder, labels = batch.inputs.decoder, labels_of(batch)
    assert decoder is not None
    for read, written in zip(decoder.ids.tolist(), labels.tolist(), strict=True):
        text = [label for label in written if label >= 0]
        assert text[-1] == vocabulary["eos"]
        assert read[: len(text)] == [vocabulary["pad"], *text[:-1]]
    scores = learner.token_scores(batch.inputs).flatten(0, 1)
    (term,) = task.loss(learner, batch, {})[0].values()
    torch.testing.assert_close(term.total / term.normaliser, functional.cross_entropy(scores, labels.flatten()))
    asked = task.answering.collate(answered_examples(ROWS, 20).fetch(np.arange(ROWS)))
    assert len(task.answering.predict(learner.eval(), asked)) == ROWS


def test_eight_rows_are_overfitted_and_written() -> None:
    task = writer(tiny_model("bart", *DRY, "model.initial_std=0.1"), length=24, label_smoothing=0.0)
    torch.manual_seed(0)
    learner = task.build(lambda model: backbones.build(model, task.vocabulary.size)).train()
    batch = batch_of(task, 8)
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for _ in range(300):
        (term,) = task.loss(learner, batch, {})[0].values()
        loss = term.total / term.normaliser
        loss.backward()
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in learner.parameters())
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.05:
            break
    assert loss.item() < 0.05
    references = answered_examples(8, 22).references
    for beams in (1, 3):
        answering = task.answering.writing(GenerationSettings(beams=beams), Tokenizer.__new__(Tokenizer))
        answers = answering.predict(learner.eval(), batch)
        assert [answer["prediction"] for answer in answers] == list(references)
    scores = task.answering.score(answers, references)
    assert (scores["chrf"], scores["accuracy"]) == (pytest.approx(100), 1)


@pytest.mark.parametrize("chosen", [{}, {"beams": 3}, {"sample": True, "seed": 5}])
def test_texts_are_those_of_transformers_and_company_changes_none(chosen: dict[str, Any]) -> None:
    task = writer(length=24, target_length=7, no_repeat_ngram=2, **chosen)
    learner = learner_of(task).eval()
    with torch.no_grad():
        for weight in learner.parameters():
            weight.normal_(std=0.7)  # else every text is the same
    rows = answered_examples(ROWS, 22)
    batch = task.answering.collate(rows.fetch(np.arange(ROWS)))
    together = [answer["prediction"] for answer in task.answering.predict(learner, batch)]
    alone = [
        task.answering.predict(learner, task.answering.collate(rows.fetch(np.array([row]))))[0]["prediction"]
        for row in range(ROWS)
    ]
    assert together == alone
    assert len(set(together)) > 1 or not chosen  # the most likely tokens may be those of every row
    if chosen.get("sample"):
        return
    real, roles = batch.inputs.layout.tokens, task.vocabulary.roles
    assert real is not None
    other = twin_of(learner.pair, roles)
    theirs = other.generate(
        input_ids=batch.inputs.ids,
        attention_mask=real.long(),
        max_new_tokens=7,
        num_beams=chosen.get("beams", 1),
        no_repeat_ngram_size=2,
        do_sample=False,
        decoder_start_token_id=roles["sep"],
        forced_bos_token_id=roles["cls"],
        forced_eos_token_id=roles["sep"],
        eos_token_id=roles["sep"],
        pad_token_id=roles["pad"],
    )
    special = {roles[role] for role in ("cls", "sep", "pad")}
    ours = [[int(token) for token in text.split() if int(token) not in special] for text in together]
    assert ours == [[token for token in text if token not in special] for text in theirs[:, 1:].tolist()]


def test_a_prediction_sees_no_later_token() -> None:
    task = writer(length=24)
    learner, batch = learner_of(task).eval(), batch_of(task)
    decoder = batch.inputs.decoder
    assert decoder is not None
    embedded: list[torch.Tensor] = []
    learner.pair.token.register_forward_hook(lambda module, inputs, output: embedded.append(output) or output.retain_grad())
    hidden = learner.backbone.hidden(batch.inputs)
    hidden[:, 1].sum().backward()
    reach = embedded[1].grad.abs().sum(dim=(0, 2))  # by place in the decoder
    assert (reach[:2] > 0).all()
    assert (reach[2:] == 0).all()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = ["the cat sat on the mat .", "a dog ran to the cat ."] * 20
    return train(iter(texts), TokenizerSettings(type="byte_bpe", family="roberta", vocab_size=290, lowercase=False))


def test_questions_have_the_prefix_and_stop_texts_end_answers(tokenizer: Tokenizer) -> None:
    settings = writer(text=("a", "b"), prefix="say: ", stop=("t",), target_length=None).settings
    task = SequenceToSequence(settings, tiny_model("bart"), tokenizer.vocabulary, 24)
    lines = ["the cat\ta dog", json.dumps({"b": "a dog", "a": "the cat"})]
    rows = task.answering.questions(lines, tokenizer)
    assert [tokenizer.decode(rows.tokens[row, : rows.lengths[row]]) for row in (0, 1)] == ["say: the cat"] * 2
    with pytest.raises(DataError, match="a pair of texts was expected"):
        task.answering.questions(["the cat"], tokenizer)
    learner = learner_of(task).eval()
    answers = task.answering.predict(learner, task.answering.collate(rows))
    assert answers[0]["prediction"] == answers[1]["prediction"]
    assert "t" not in answers[0]["prediction"]
    said = task.answering.read_out(lines[1], rows.tokens[1], answers[1], tokenizer)
    assert said.values == {"a": "the cat", "b": "a dog", "prediction": answers[1]["prediction"]}
    assert said.lines == [answers[1]["prediction"]]


def test_a_prefix_that_leaves_no_place_for_the_texts_is_refused(tokenizer: Tokenizer) -> None:
    settings = writer(text=("a",), prefix="say " * 30, target_length=None).settings
    task = SequenceToSequence(settings, tiny_model("bart"), tokenizer.vocabulary, 24)
    with pytest.raises(SettingsError, match="nothing of the texts would be read"):
        task.answering.questions(["the cat"], tokenizer)


def test_options_of_predict_go_with_those_of_the_run(tokenizer: Tokenizer) -> None:
    answering = writer(beams=4, no_repeat_ngram=3).answering
    longer = answering.writing(GenerationSettings(max_new_tokens=5), tokenizer).chosen
    assert (longer.beams, longer.no_repeat_ngram, longer.max_new_tokens) == (4, 3, 5)
    with pytest.raises(SettingsError, match="sample draws one text, beams search for the most likely one"):
        answering.writing(GenerationSettings(sample=True), tokenizer)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (["model=bert"], "task=sequence_to_sequence has no head for models of family bert"),
        (["model=bart", "task.target=text"], "target and text name the same column, text"),
        (["model=bart", "task.target_length=2000"], r"task.target_length \(2000\) is more than model=bart takes \(1024\)"),
        (["model=bart", "task.beams=3", "task.sample=true"], "sample draws one text"),
        (["model=bart", "task.metrics=[rouge]"], "task.metrics"),
        (["model=bart", "task.languages=[en,de]"], "the model has no languages"),
        (["model=bart", "task.trains=source"], "trains=source trains a new encoder"),
        (["model=bart", "task.label_smoothing=1"], "task.label_smoothing"),
    ],
)
def test_settings_without_a_meaning_are_refused(chosen: list[str], words: str) -> None:
    with pytest.raises(SettingsErrors, match=words):
        settings_for("finetune", ["data.files=[a.tsv]", "task=sequence_to_sequence", *chosen])


def test_the_loss_may_choose_and_nothing_is_written_then() -> None:
    task = writer(metrics=("loss",))
    assert (task.selection.measure, task.selection.higher, task.selection.decides) == ("loss", False, True)
    assert task.answering.scored == ()
    assert writer().selection.higher


def test_an_inspection_shows_what_is_read_and_written() -> None:
    task = writer(length=14)
    batch = batch_of(task, 12)
    shown = task.inspect(batch)
    roles, first = task.vocabulary.roles, shown.rows[0].lines
    assert list(first) == ["source", "decoder reads", "target"]
    assert first["target"][0] == (roles["cls"], "special")
    assert first["target"][-1] == (roles["sep"], "special")
    assert [token for token, _ in first["decoder reads"]] == [roles["sep"], *(token for token, _ in first["target"][:-1])]
    assert sum(shown.histograms["tokens of a target"].values()) == 12
    assert replace(shown).rates["targets as long as can be"][1] == 12


def test_a_new_encoder_is_trained_in_front_of_the_model_in_two_stages() -> None:
    """Lewis et al. 2020, section 3.4: first the new encoder, the positions and the first projection, then everything."""
    model = tiny_model("bart", *DRY, "model.initial_std=0.1")
    first, second = (writer(model, length=24, source_layers=2, trains=trains) for trains in ("source", "all"))
    learner, batch = learner_of(first).train(), batch_of(first)
    trained = {name for name, weight in learner.named_parameters() if weight.requires_grad}
    source = {name for name, _ in learner.named_parameters() if name.startswith("source.")}
    projection = {f"backbone.encoder.layers.0.attention.query_key_value.{kind}" for kind in ("weight", "bias")}
    positions = {f"backbone.{stack}.embeddings.position.weight" for stack in ("encoder", "decoder")}
    assert trained == source | projection | positions
    first.loss(learner, batch, {})[0]["target"].total.backward()
    assert {name for name, weight in learner.named_parameters() if weight.grad is not None} == trained
    assert all(weight.grad.abs().sum() > 0 for weight in learner.parameters() if weight.grad is not None)
    whole = learner_of(second)
    whole.load_state_dict(learner.state_dict())
    assert all(weight.requires_grad for weight in whole.parameters())
    # The model's own encoder reads the new one's states in place of embeddings: its token table serves the decoder alone.
    decoder = batch.inputs.decoder
    assert decoder is not None
    read, others = learner.eval(), first.vocabulary.ordinary_ids
    ids = torch.from_numpy(others[(batch.inputs.ids.numpy() * 7) % len(others)])
    one, other = (read.encode(replace(batch.inputs, ids=some)) for some in (batch.inputs.ids, ids))
    assert not torch.allclose(one, other)
    with torch.no_grad():
        read.pair.token.weight.zero_()
    torch.testing.assert_close(read.encode(batch.inputs), one)
    with pytest.raises(SettingsError, match="another encoder in front"):
        read.models()
    assert writer(model).build(lambda settings: backbones.build(settings, 64)).models().keys() == {"model"}
