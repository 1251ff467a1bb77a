"""What a run starts from brings its shape, its weights, its pooler and its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from support.finished_run import finished_run, randomised

from plmtrain import cli
from plmtrain.batch import Inputs
from plmtrain.data.loading.order import plan_phases
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.interop.initial import Start, token_rows
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Program
from plmtrain.programs.row_tasks import RowLearner
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.corpus import programs_of
from plmtrain.runs.learners import build_learner, embedded_tokens
from plmtrain.settings.run import FinetuneSettings, PretrainSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.tasks.classification import Classification
from plmtrain.text.extension import extend, with_added_tokens
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train
from plmtrain.training.restore import load_run, tokenizer_folder

torch.set_num_threads(1)
TEXTS = ["the cat sat on the mat .", "a dog ran to the cat ."] * 20
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


def published(folder: Path, family: str, rows: int) -> Path:
    """A folder as it is published, with more rows in its token table than its tokenizer has tokens."""
    kind = {"bert": "wordpiece", "albert": "unigram", "roberta": "byte_bpe"}[family]
    lowercase = family != "roberta"
    settings = TokenizerSettings(type=kind, family=family, vocab_size=rows - 20, lowercase=lowercase)
    train(iter(TEXTS), settings).save(folder)
    torch.manual_seed(1)
    extra = {"embedding_size": 16} if family == "albert" else {}
    config = transformers.AutoConfig.for_model(
        family, vocab_size=rows, pad_token_id=1 if family == "roberta" else 0, **SMALL, **extra
    )
    model = transformers.AutoModel.from_config(config)
    model.save_pretrained(folder)
    return folder


def started(folder: Path, *overrides: str) -> tuple[FinetuneSettings, Program, RowLearner]:
    words = [f"init={folder}", "data.files=[a.tsv]", "task.labels=[no,yes]", "trainer.sequence_length=16", *overrides]
    settings = settings_for("finetune", words)
    assert isinstance(settings, FinetuneSettings)
    tokenizer = Tokenizer.load(folder)
    program = Classification(settings.task, settings.model, tokenizer.vocabulary, 16)
    learner = build_learner(settings, program, token_rows(folder, tokenizer.vocabulary.size))
    assert isinstance(learner, RowLearner)
    return settings, program, learner


@pytest.mark.parametrize("family", ["bert", "albert", "roberta"])
def test_a_published_folder_is_taken_whole(tmp_path: Path, family: str) -> None:
    rows = 320 if family == "roberta" else 90
    folder = published(tmp_path / "model", family, rows)
    settings, _, learner = started(folder)
    theirs = transformers.AutoModel.from_pretrained(folder)
    assert (settings.model.family, settings.tokenizer.family) == (family, family)
    assert settings.tokenizer.lowercase == (family != "roberta")
    assert torch.equal(learner.backbone.embedding_weight, theirs.embeddings.word_embeddings.weight)
    assert len(learner.backbone.embedding_weight) == rows > Tokenizer.load(folder).vocabulary.size
    pooler = theirs.pooler if family == "albert" else theirs.pooler.dense
    assert torch.equal(learner.head.dense.weight, pooler.weight) == (family != "roberta"), "RoBERTa's head begins anew"


def test_dropout_may_be_chosen_and_shape_may_not(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "bert", 90)
    settings, _, learner = started(folder, "model.dropout=0.3")
    assert settings.model.dropout == learner.head.dropout == 0.3
    with pytest.raises(SettingsErrors) as told:
        started(folder, "model.width=32", "model=bert", "tokenizer.vocab_size=7")
    assert {error.where for error in told.value.errors} == {
        "command line: model.width=32",
        "command line: model=bert",
        "command line: tokenizer.vocab_size=7",
    }


def test_the_same_seed_begins_alike(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "bert", 90)
    first, again, other = (started(folder, f"seed={seed}")[2].head.scores.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("new", "task"), [(0, True), (1, True), (2, False)])
def test_the_last_layers_start_anew_as_the_seed_says(tmp_path: Path, new: int, task: bool) -> None:
    """From a run of another task: its encoder is taken, and its pooler unless layers start anew; never its head."""
    system = ["task=classification", "task.labels=[a,b,c]"] if task else ["objective=mlm"]
    shape = "model.layers=3 model.width=16 model.heads=2 model.feed_forward=32 model.positions=40 trainer.sequence_length=16"
    finished_run(tmp_path / "run", ["model=bert", *system], shape.split())
    source = load_run(tmp_path / "run").learner
    starts: list[Start] = []
    words = [f"init={tmp_path / 'run'}", "data.files=[a.tsv]", "task.labels=[no,yes]", f"trainer.reinitialise_layers={new}"]
    settings = settings_for("finetune", [*words, "trainer.sequence_length=16"])
    tokenizer = Tokenizer.load(tmp_path / "run" / "tokenizer")

    def begun(seed: int) -> RowLearner:
        chosen = settings.model_copy(update={"seed": seed})
        program = Classification(chosen.task, chosen.model, tokenizer.vocabulary, 16)
        return build_learner(chosen, program, embedded_tokens(chosen, tokenizer), starts.append)

    first, again, other = begun(1), begun(1), begun(2)
    old, numbers = source.backbone.state_dict(), range(3 - new, 3)
    renewed = tuple(f"layers.{number}." for number in numbers)
    drawn = ("attention.query_key_value.weight", "feed_forward_in.weight")
    for name, weight in first.backbone.state_dict().items():
        assert torch.equal(weight, old[name]) != name.startswith(renewed), name
        assert torch.equal(weight, again.backbone.state_dict()[name])
        if name.startswith(renewed) and name.endswith(drawn):
            assert not torch.equal(weight, other.backbone.state_dict()[name])
    assert torch.equal(first.head.dense.weight, source.head.dense.weight) == (new == 0) if task else True
    told = str(starts[0])
    assert "new and random: " + {0: "", 1: "its last layer, ", 2: "its last 2 layers, "}[new] + "a sentence head" in told
    assert ("the pooler" in told) == (new == 0)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["trainer.reinitialise_layers=2"], "has one layer before its heads"),
        (["trainer.reinitialise_layers=1", "trainer.freeze=[layer.0]"], "makes layers new that trainer.freeze=layer.0"),
    ],
)
def test_layers_that_cannot_start_anew_are_told(tmp_path: Path, words: list[str], problem: str) -> None:
    folder = published(tmp_path / "model", "bert", 90)
    with pytest.raises(SettingsErrors, match=problem):
        started(folder, *words)


def adapted(folder: Path, *overrides: str) -> tuple[PretrainSettings, Learner, Start]:
    """The learner of a pretraining run that starts from a folder, before its first step."""
    words = ["trainer.sequence_length=16", *overrides, f"init={folder}"]  # the default objective is dynamic_mlm
    settings = settings_for("pretrain", words)
    assert isinstance(settings, PretrainSettings)
    tokenizer = Tokenizer.load(settings.tokenizer.path or tokenizer_folder(folder))
    starts: list[Start] = []
    (program,) = programs_of(settings, plan_phases(settings.trainer), tokenizer.vocabulary)
    learner = build_learner(settings, program, embedded_tokens(settings, tokenizer), starts.append)
    return settings, learner, starts[0]


def masked_lm(folder: Path, family: str) -> torch.nn.Module:
    """Replace the weights of a published folder by a language model's, all of them random, biases too."""
    kind = {"bert": transformers.BertForMaskedLM, "roberta": transformers.RobertaForMaskedLM}[family]
    model = randomised(kind(transformers.AutoConfig.from_pretrained(folder)))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_pretraining_goes_on_where_a_published_model_ended(tmp_path: Path, family: str) -> None:
    folder = published(tmp_path / "model", family, 320)
    theirs = masked_lm(folder, family)
    settings, learner, start = adapted(folder)
    assert (settings.model.layers, settings.model.width, settings.model.family) == (1, 16, family)
    assert (start.loaded, start.fresh) == (["the backbone", "a language-model head"], [])
    ids = torch.tensor([[5, 17, 30, 44, 8]])
    with torch.no_grad():
        ours = learner.eval().token_scores(Inputs(ids=ids))
        torch.testing.assert_close(ours, theirs(ids).logits, rtol=1e-4, atol=1e-5)


def test_a_new_head_is_named(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "bert", 90)
    _, _, start = adapted(folder, "objective=nsp")
    assert start.loaded == ["the backbone", "a pooler"]
    assert start.fresh == ["a language-model head", "a head for pairs of sentences (nsp)"]
    assert str(start).startswith(f"starting from {folder}, loaded: the backbone, a pooler; new and random: ")
    _, _, start = adapted(folder, "objective=rtd")
    assert start.fresh == ["a head for replaced tokens", "the generator", "a language-model head of the generator"]


def test_a_head_with_opposite_labels_is_not_taken(tmp_path: Path) -> None:
    finished_run(tmp_path / "order", ["model=bert", "objective=sop"])
    _, _, same = adapted(tmp_path / "order", "objective=sop")
    assert same.fresh == []
    _, _, other = adapted(tmp_path / "order", "objective=nsp")
    assert other.fresh == ["a head for pairs of sentences (nsp)"]


@pytest.mark.parametrize("model", ["electra_small", "deberta_v3_small"])
@pytest.mark.parametrize("sharing", ["full", "none", "gradient_disentangled"])
def test_a_run_brings_its_generator(tmp_path: Path, model: str, sharing: str) -> None:
    parts = f"objective=rtd objective.share_embeddings={sharing}"
    finished_run(tmp_path / "run", [f"model={model}", *parts.split()])
    before = load_run(tmp_path / "run").learner.state_dict()
    _, learner, start = adapted(tmp_path / "run", *parts.split())
    assert start.fresh == []
    for name, tensor in learner.state_dict().items():
        if name.endswith("offset"):  # the whole table less the generator's
            torch.testing.assert_close(tensor, before[name], atol=1e-6, rtol=1e-5)
        else:
            assert torch.equal(tensor, before[name]), name


def test_a_discriminator_alone_lends_its_generator_its_table(tmp_path: Path) -> None:
    """Its run's export has no generator: the new one's table is the discriminator's, whose own begins at zero again."""
    sharing = "objective.share_embeddings=gradient_disentangled"
    finished_run(tmp_path / "run", ["model=deberta_v3_small", "objective=rtd", sharing])
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    before = load_run(tmp_path / "run").learner
    _, learner, start = adapted(tmp_path / "out", "objective=rtd", sharing)
    assert start.loaded == ["the backbone", "a head for replaced tokens"]
    assert not learner.backbone.token.offset.any()
    assert torch.equal(learner.generator.embedding_weight, before.backbone.embedding_weight)
    ids = torch.tensor([[5, 17, 30, 44, 8]])
    torch.testing.assert_close(learner.eval().discriminator_logits(Inputs(ids=ids)), before.discriminator_logits(Inputs(ids=ids)))


@pytest.mark.parametrize("rows", [110, 90])
def test_new_tokens_start_from_the_mean_of_their_old_pieces(tmp_path: Path, rows: int) -> None:
    """In new rows, and in those that a padded vocabulary had left without a token."""
    folder = published(tmp_path / "model", "bert", rows)
    theirs = masked_lm(folder, "bert")
    old = Tokenizer.load(folder)
    extend(old, ["catdog", "matran"]).tokenizer.save(tmp_path / "wider")
    settings, learner, start = adapted(folder, f"tokenizer.path={tmp_path / 'wider'}")
    size = old.vocabulary.size
    table, bias = learner.backbone.embedding_weight, learner.head.bias
    assert len(table) == len(bias) == max(rows, size + 2)
    assert settings.tokenizer.vocab_size == size + 2
    for number, word in enumerate(("catdog", "matran"), start=size):
        ((pieces, _),) = old.encode([word])
        assert len(pieces) > 1
        torch.testing.assert_close(table[number], theirs.bert.embeddings.word_embeddings.weight[pieces].mean(0))
        torch.testing.assert_close(bias[number], theirs.cls.predictions.bias[pieces].mean(0))
    assert torch.equal(table[:size], theirs.bert.embeddings.word_embeddings.weight[:size])
    assert "2 new tokens start from the mean of the old pieces" in str(start)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "bert", 90)
    train(
        ["other words stand here altogether ."] * 9,
        TokenizerSettings(type="wordpiece", family="bert", vocab_size=60, lowercase=True),
    ).save(tmp_path / "other")
    with pytest.raises(SettingsError, match="numbers tokens otherwise"):
        adapted(folder, f"tokenizer.path={tmp_path / 'other'}")


def test_a_shape_of_ones_own_is_refused_in_pretraining_too(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "bert", 90)
    with pytest.raises(SettingsErrors) as told:
        adapted(folder, "model=roberta", "size=tiny", "model.layers=3")
    assert {error.remedy for error in told.value.errors} == {"omit model=", "omit size=", "omit it"}


def test_gpt_1_gets_the_three_tokens_that_its_published_vocabulary_lacks(tmp_path: Path) -> None:
    """Their rows are new and random, and the model is as before for all other tokens."""
    folder = tmp_path / "model"
    made = train(iter(TEXTS), TokenizerSettings(type="bpe", family="gpt1", vocab_size=90, lowercase=True))
    new, model = {"_start_", "_delimiter_", "_classify_"}, made.definition["model"]
    vocabulary = {piece: number for piece, number in model["vocab"].items() if piece not in new}
    config = transformers.OpenAIGPTConfig(vocab_size=len(vocabulary), n_embd=16, n_layer=1, n_head=2, n_positions=40)
    theirs = randomised(transformers.OpenAIGPTLMHeadModel(config))
    theirs.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, model["merges"])]), "utf-8")

    words = [f"init={folder}", "data.files=[a.tsv]", "task.labels=[no,yes]", "trainer.sequence_length=16"]
    settings = settings_for("finetune", words)
    assert isinstance(settings, FinetuneSettings)
    before = Tokenizer.load(folder)
    now = with_added_tokens(before, settings.model.published.tokens)
    assert (before.vocabulary.size, now.vocabulary.size) == (len(vocabulary), len(vocabulary) + 3)
    named = [now.pieces([now.vocabulary[role]])[0] for role in ("bos", "sep", "eos")]
    assert named == ["_start_", "_delimiter_", "_classify_"]
    assert [ids.tolist() for ids, _ in now.encode(TEXTS)] == [ids.tolist() for ids, _ in before.encode(TEXTS)]
    now.save(tmp_path / "tokenizer")
    assert Tokenizer.load(tmp_path / "tokenizer").digest == now.digest

    starts: list[Start] = []
    program = Classification(settings.task, settings.model, now.vocabulary, 16)
    learner = build_learner(settings, program, embedded_tokens(settings, now), starts.append)
    table, old = learner.backbone.embedding_weight, theirs.transformer.tokens_embed.weight
    assert torch.equal(table[: len(old)], old)
    added = table[len(old) :]
    assert added.shape == (3, 16)
    assert 0.01 < float(added.detach().std()) < 0.04
    assert "3 new tokens start from random embeddings" in str(starts[0])
    ids = torch.from_numpy(before.encode(TEXTS[:1])[0][0])[None]
    with torch.no_grad():
        expected = theirs.transformer(ids).last_hidden_state
        torch.testing.assert_close(learner.eval().backbone.hidden(Inputs(ids=ids)), expected, atol=1e-5, rtol=1e-4)
