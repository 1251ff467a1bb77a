"""The YAML files: every one composes, is explained, and says what the papers say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from plmtrain.commands.list import matrix
from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices, conf_folder, groups_of
from plmtrain.settings.decode import KINDS, RunKind, pretrain_settings, run_settings
from plmtrain.settings.models.encoder import EncoderSettings

FILES = sorted(conf_folder().rglob("*.yaml"))
MATRIX = matrix(None)
ALL = [(kind, group, choice) for kind in KINDS for group in groups_of(kind.primary) for choice in choices(group)]


REFUSED = {
    ("finetune", "model", "xlm"): "no head for models of family xlm",
    ("finetune", "trainer", "short_first"): "phases are for pretraining",
}
"""Choices that one of the verbs does not take, and what it says."""


def settings(*overrides: str):
    return pretrain_settings(compose(overrides))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_key_has_a_comment_above_it(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if line and not line.lstrip().startswith(("#", "-"))]
    for number in keys:
        key = lines[number].strip()
        # A key that only opens a group explains itself by its name.
        if not key.endswith(":"):
            assert lines[number - 1].lstrip().startswith("#"), f"line {number + 1}: {key}"


@pytest.mark.parametrize(("kind", "group", "choice"), ALL, ids=lambda value: getattr(value, "primary", value))
def test_every_choice_composes(kind: RunKind, group: str, choice: str) -> None:
    named = kind.primary == "finetune" or (group == "data" and choice != "sample")
    extra = ["data.files=[mytext.tsv]"] if named else []
    if choice in ("parallel", "tlm", "multilingual_mlm") or (group, choice) == ("experiment", "xlm"):
        extra = ["data=parallel"] * (group == "objective") + ["data.files=[mytext.tsv]", "data.languages=[en,de]"]
    if kind.primary == "pretrain" and group in ("model", "objective"):
        # With one of the other group that it goes with.
        other = "objective" if group == "model" else "model"
        pairs = [(model, name) for model, row in MATRIX.items() for name, answer in row.items() if answer == "yes"]
        fitting = [dict(zip(("model", "objective"), pair, strict=True)) for pair in pairs]
        extra.append(f"{other}={next(pair[other] for pair in fitting if pair[group] == choice)}")
        if (group, choice) == ("objective", "mixture"):
            extra.append("objective.shares={mlm: 1, rtd: 1}")
    if (reason := REFUSED.get((kind.primary, group, choice))) is not None:
        with pytest.raises(SettingsErrors, match=reason):
            run_settings(compose([f"{group}={choice}", *extra], primary=kind.primary), kind)
        return
    made = run_settings(compose([f"{group}={choice}", *extra], primary=kind.primary), kind)
    if group in ("model", "objective", "data", "task"):
        assert getattr(made, group).name == choice.rpartition("/")[2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_file_holds_more_than_settings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "_target_" not in text
    assert yaml.safe_load(text)


# layers, width, heads, inner, embedding, positions, offset, segments, eps: the published shapes.
SHAPES = {
    "bert": (12, 768, 12, 3072, None, 512, 0, 2, 1e-12),
    "bert_large": (24, 1024, 16, 4096, None, 512, 0, 2, 1e-12),
    "roberta": (12, 768, 12, 3072, None, 512, 2, 1, 1e-5),
    "roberta_large": (24, 1024, 16, 4096, None, 512, 2, 1, 1e-5),
    "albert": (12, 768, 12, 3072, 128, 512, 0, 2, 1e-12),
    "albert_large": (24, 1024, 16, 4096, 128, 512, 0, 2, 1e-12),
    "albert_xlarge": (24, 2048, 16, 8192, 128, 512, 0, 2, 1e-12),
    "albert_xxlarge": (12, 4096, 64, 16384, 128, 512, 0, 2, 1e-12),
    "electra_small": (12, 256, 4, 1024, 128, 512, 0, 2, 1e-12),
    "electra": (12, 768, 12, 3072, None, 512, 0, 2, 1e-12),
    "electra_large": (24, 1024, 16, 4096, None, 512, 0, 2, 1e-12),
    "distilbert": (6, 768, 12, 3072, None, 512, 0, 0, 1e-12),
    "xlm": (12, 1024, 8, 4096, None, 512, 0, 0, 1e-12),
}


@pytest.mark.parametrize("model", SHAPES)
def test_published_shapes(model: str) -> None:
    made = settings(f"model={model}").model
    assert isinstance(made, EncoderSettings)
    found = (made.layers, made.width, made.heads, made.feed_forward, made.embedding_width, made.positions)
    assert (*found, made.position_offset, made.segments, made.norm_eps) == SHAPES[model]
    assert made.shared_layers == made.always_project == model.startswith("albert")


def test_every_encoder_has_a_published_shape_here() -> None:
    files = {choice: conf_folder() / "model" / f"{choice}.yaml" for choice in choices("model")}
    types = {choice: yaml.safe_load(path.read_text("utf-8"))["type"] for choice, path in files.items()}
    assert set(SHAPES) == {choice for choice, kind in types.items() if kind == "encoder"}


@pytest.mark.parametrize(("model", "parameters"), [("bert", 109_514_298), ("roberta", 124_697_433), ("distilbert", 66_985_530)])
def test_shapes_give_the_published_parameter_counts(model: str, parameters: int) -> None:
    """By the arithmetic of the layers: embeddings, blocks, and the masked-LM head with its tied table."""
    made = settings(f"model={model}", "data=text", "data.files=[x]")
    shape, vocabulary = made.model, made.tokenizer.vocab_size
    assert isinstance(shape, EncoderSettings)
    width = shape.width
    rows = vocabulary + shape.positions + shape.position_offset + shape.segments
    blocks = shape.layers * (12 * width**2 + 13 * width)
    head = width**2 + 3 * width + vocabulary
    assert rows * width + 2 * width + blocks + head == parameters


@pytest.mark.parametrize("size", ["tiny", "mini", "small", "base", "large"])
@pytest.mark.parametrize("model", ["bert", "roberta", "albert", "electra_small", "distilbert"])
def test_a_size_rescales_any_family_and_leaves_it_itself(size: str, model: str) -> None:
    shapes = {
        "tiny": (2, 128, 2, 512),
        "mini": (3, 192, 3, 768),
        "small": (4, 256, 4, 1024),
        "base": (12, 768, 12, 3072),
        "large": (24, 1024, 16, 4096),
    }
    published, made = settings(f"model={model}").model, settings(f"model={model}", f"size={size}").model
    assert isinstance(made, EncoderSettings)
    assert (made.layers, made.width, made.heads, made.feed_forward) == shapes[size]
    assert (made.embedding_width or made.width) <= made.width
    scaled = {"layers", "width", "heads", "feed_forward"}
    if size == "tiny":  # so small a model underfits
        assert (made.dropout, made.attention_dropout) == (0, 0)
        scaled |= {"dropout", "attention_dropout"}
    assert made.model_dump(exclude=scaled) == published.model_dump(exclude=scaled)


@pytest.mark.parametrize(
    ("model", "kind", "family", "vocabulary", "lowercase"),
    [
        ("bert", "wordpiece", "bert", 30522, True),
        ("electra", "wordpiece", "bert", 30522, True),
        ("distilbert", "wordpiece", "bert", 30522, True),
        ("roberta", "byte_bpe", "roberta", 50265, False),
        ("albert", "unigram", "albert", 30000, True),
    ],
)
def test_a_model_brings_its_tokenizer(model: str, kind: str, family: str, vocabulary: int, lowercase: bool) -> None:
    text = ["data=text", "data.files=[x]"]
    made = settings(f"model={model}", *text).tokenizer
    assert (made.type, made.family, made.vocab_size, made.lowercase) == (kind, family, vocabulary, lowercase)
    # Another kind keeps the family's special tokens, however it is asked for.
    for override in ("tokenizer=unigram", "tokenizer.type=unigram"):
        other = settings(f"model={model}", *text, override).tokenizer
        assert (other.type, other.family, other.lowercase) == ("unigram", family, lowercase)
    # A small text or a small model takes a small vocabulary, unless told otherwise.
    assert settings(f"model={model}", "data=sample").tokenizer.vocab_size == 2048
    assert settings(f"model={model}", *text, "size=tiny").tokenizer.vocab_size == 8192
    assert settings(f"model={model}", "size=tiny", "tokenizer.vocab_size=999").tokenizer.vocab_size == 999


def test_the_learning_rate_follows_the_size_unless_it_is_given() -> None:
    assert settings("size=tiny").optimizer.lr == 2e-3
    assert settings("size=large").optimizer.lr == 5e-5
    assert settings("model=electra_small").optimizer.lr == 5e-4
    assert settings("optimizer=bert", "size=tiny").optimizer.lr == 2e-3
    assert settings("size=tiny", "optimizer.lr=0.02").optimizer.lr == 0.02


def test_objectives_say_what_the_papers_say() -> None:
    bert, roberta = settings("objective=mlm").objective.model_dump(), settings("objective=dynamic_mlm").objective.model_dump()
    assert (bert["copies"], bert["budget"], bert["random_tokens"]) == (10, "round", "all")
    assert (roberta["copies"], roberta["budget"], roberta["random_tokens"]) == (None, "stochastic", "ordinary")
    for objective in (bert, roberta):
        assert (objective["mask_probability"], objective["mask_share"], objective["random_share"]) == (0.15, 0.8, 0.1)
    assert settings("objective=whole_word_mlm").objective.model_dump()["whole_words"]


def test_an_experiment_is_a_whole_recipe_and_the_command_line_still_wins() -> None:
    recipe = settings("experiment=roberta", "data=text", "data.files=[x]")
    assert (recipe.model.name, recipe.tokenizer.type, recipe.objective.name) == ("roberta", "byte_bpe", "dynamic_mlm")
    assert (recipe.optimizer.lr, recipe.optimizer.betas, recipe.optimizer.clip_norm) == (6e-4, (0.9, 0.98), None)
    assert (recipe.trainer.steps, recipe.trainer.batch_size, recipe.schedule.warmup) == (500_000, 8192, 24_000)
    smaller = settings("experiment=roberta", "model=bert", "trainer.steps=30000")
    assert (smaller.model.name, smaller.tokenizer.family, smaller.trainer.steps) == ("bert", "bert", 30_000)


def test_own_files_stand_beside_the_shipped_ones(tmp_path: Path) -> None:
    for name, text in {
        "model/mine": "defaults: [roberta, _self_]\nname: mine\nlayers: 3\nsuggests: {tokenizer: {vocab_size: 777}}\n",
        "size/nano": "# @package _global_\nmodel: {layers: 1, width: 64, heads: 2, feed_forward: 128}\n",
        "objective/half": "defaults: [dynamic_mlm, _self_]\nname: half\nmask_probability: 0.5\n",
        "tokenizer/small": "defaults: [unigram, _self_]\nvocab_size: 123\n",
        "data/novels": "defaults: [text, _self_]\nname: novels\nfiles: [novels.txt]\n",
    }.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir()
        path.write_text(text)
    own = ["model=mine", "objective=half", "data=novels", "--config-dir", str(tmp_path)]
    made = pretrain_settings(compose(own))
    assert (made.model.name, made.model.model_dump()["layers"], made.model.model_dump()["position_offset"]) == ("mine", 3, 2)
    assert (made.tokenizer.family, made.tokenizer.vocab_size) == ("roberta", 777)
    assert made.objective.model_dump()["mask_probability"] == 0.5
    assert made.data.files == ("novels.txt",)
    sized = pretrain_settings(compose([*own, "size=nano", "tokenizer=small"]))
    assert sized.model.model_dump()["width"] == 64
    assert (sized.tokenizer.type, sized.tokenizer.vocab_size) == ("unigram", 123)
