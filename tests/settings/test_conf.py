"""The YAML files: every one composes, is explained, and says what the papers say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from plmtrain.commands.list import matrix
from plmtrain.data.loading.order import plan_phases
from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices, conf_folder, groups_of, section
from plmtrain.settings.decode import finetune_settings, pretrain_settings, run_settings
from plmtrain.settings.kinds import COMPOSITIONS, RunKind
from plmtrain.settings.models.encoder import EncoderSettings

FILES = sorted(conf_folder().rglob("*.yaml"))
MATRIX = matrix(None)
ALL = [(kind, group, choice) for kind in COMPOSITIONS for group in groups_of(kind.primary) for choice in choices(group)]


MULTILINGUAL = ("parallel", "tlm", "multilingual_mlm", "multilingual_clm", "multilingual_mass", "multilingual_bart")
"""Choices that read several languages."""
TAUGHT = ("distillation", "causal_distillation")
"""Objectives with a teacher."""
REFUSED = {
    ("finetune", "model", "xlm_clm"): "reads the first state of a row, which in model=xlm_clm sees no other",
    ("finetune", "trainer", "first_hour"): "counts the text of a pretraining run",
    ("finetune", "trainer", "length_warmup"): "phases are for pretraining",
    ("finetune", "trainer", "masking_ratio_decay"): "phases are for pretraining",
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
    extra = ["data.files=[mytext.tsv]"] if named else ["scoring.files=[mytext.jsonl]"] if group == "scoring" else []
    if choice in MULTILINGUAL or (group, choice) in (("experiment", "xlm"), ("experiment", "mass"), ("experiment", "mbart")):
        extra = ["data=parallel"] * (group == "objective") + ["data.files=[mytext.tsv]", "data.languages=[en,de]"]
    if kind.primary == "pretrain" and group in ("model", "objective"):
        # With one of the other group that it goes with.
        other = "objective" if group == "model" else "model"
        pairs = [(model, name) for model, row in MATRIX.items() for name, answer in row.items() if answer == "yes"]
        fitting = [dict(zip(("model", "objective"), pair, strict=True)) for pair in pairs]
        extra.append(f"{other}={next(pair[other] for pair in fitting if pair[group] == choice)}")
        if (group, choice) == ("objective", "mixture"):
            extra.append("objective.shares={mlm: 1, rtd: 1}")
    if group == "task" and "target" in section("task", choice):
        extra.append("model=bart")  # which writes texts
    if (group, choice) == ("task", "multitask"):
        extra = ["model=bart", "task.tasks={one: {files: a.tsv}, two: {files: b.tsv}}"]
    if (group, choice) == ("data", "mix"):
        extra = ["data.sources={one: {type: text, files: a.txt, weight: 3}, two: {type: jsonl, files: b.jsonl, weight: 1}}"]
    if (group, choice) == ("data", "stream"):
        extra = ["data.files=[corpus/*.jsonl.zst]", "data.cache_gb=5"]
    if (group, choice) == ("data", "hub"):
        extra = ["data.hub=wikimedia/wikipedia"]
    chosen = (f"{group}={choice}", *extra)
    if any(f"objective={name}" in chosen for name in TAUGHT) or (group, choice) in (
        ("experiment", "distilbert"),
        ("experiment", "tinybert"),
    ):
        extra.append("teacher=large")
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


@pytest.mark.parametrize("size", ["tiny", "mini", "small", "base", "large"])
@pytest.mark.parametrize("model", ["bert", "roberta", "albert", "electra_small", "distilbert"])
def test_a_size_rescales_any_family_and_leaves_it_itself(size: str, model: str) -> None:
    published, made = settings(f"model={model}").model, settings(f"model={model}", f"size={size}").model
    assert isinstance(made, EncoderSettings)
    bert = settings("model=bert", f"size={size}").model.model_dump(include={"layers", "width", "heads", "feed_forward"})
    assert made.model_dump(include=set(bert)) == bert
    assert (made.width, made.feed_forward) == (64 * made.heads, 4 * made.width)
    assert (made.embedding_width or made.width) <= made.width
    scaled = {"layers", "width", "heads", "feed_forward"}
    if size in ("tiny", "mini", "small"):  # so small a model underfits, and so narrow a one begins with wider weights
        assert (made.dropout, made.attention_dropout) == (0, 0)
        assert made.initial_std == pytest.approx(made.width**-0.5, rel=0.01)
        scaled |= {"dropout", "attention_dropout", "initial_std"}
    assert made.model_dump(exclude=scaled) == published.model_dump(exclude=scaled)


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["size=small"], "counted"),
        (["size=tiny", "experiment=null", "trainer.batch_size=3"], "counted"),
        (["size=mini", "trainer.start=random"], "random"),
        (["size=small", "trainer=default"], "random"),
        (["size=small", "experiment=roberta"], "random"),
        (["size=base"], "random"),
        (["model=bert"], "random"),
    ],
)
def test_small_sizes_suggest_a_trainer_where_none_is_named(words: list[str], start: str) -> None:
    assert settings(*words).trainer.start == start


def test_the_origin_of_a_suggested_trainer_is_its_file() -> None:
    suggested, named = compose(["size=small"]), compose(["size=small", "trainer=first_hour"])
    assert suggested.values == named.values
    assert suggested.origin("trainer") == "file: conf/trainer/first_hour.yaml (trainer)"
    assert named.origin("trainer") == "command line: trainer=first_hour"


def test_a_trainer_suggests_the_warm_up_and_the_user_decides(tmp_path: Path) -> None:
    for words, warmup in (
        (["size=small"], 0.2),
        (["trainer=first_hour", "schedule=cosine"], 0.2),
        (["size=small", "trainer=masking_ratio_decay"], 0.2),
        (["size=small", "schedule.warmup=10"], 10),
        (["size=small", "trainer=default"], 0.06),
        (["size=small", "experiment=bert"], 10000),
        (["trainer=length_warmup"], 0.06),
    ):
        assert settings(*words).schedule.warmup == warmup, words
    assert finetune_settings(compose(["size=small", "data.files=[a.tsv]"], primary="finetune")).schedule.warmup == 0.06
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "mine.yaml").write_text("steps: 7\n")  # without the defaults of any other
    assert pretrain_settings(compose(["trainer=mine", "--config-dir", str(tmp_path)])).schedule.warmup == 0.06


def test_a_size_reaches_what_the_own_yaml_of_a_model_leaves_out(tmp_path: Path) -> None:
    """A user's file may leave settings to their defaults; its name need not be its file's."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "sparse.yaml").write_text("type: encoder\nname: other\nfamily: bert\npositions: 512\n")
    made = pretrain_settings(compose(["model=sparse", "size=tiny", "--config-dir", str(tmp_path)])).model
    assert isinstance(made, EncoderSettings)
    assert (made.width, made.layers, made.dropout, made.positions) == (128, 2, 0, 512)
    (folder / "words.yaml").write_text("defaults: [elmo, _self_]\nname: other\n")
    own = pretrain_settings(compose(["model=words", "size=tiny", "objective=bilm", "--config-dir", str(tmp_path)])).model
    shipped = settings("model=elmo", "size=tiny", "objective=bilm").model
    assert own.model_dump(exclude={"name"}) == shipped.model_dump(exclude={"name"})


def test_a_trainer_that_a_size_suggests_and_nobody_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "size").mkdir()
    (tmp_path / "size" / "mine.yaml").write_text("# @package _global_\nmodel:\n  layers: 1\n  suggests: {trainer: first_houre}\n")
    with pytest.raises(SettingsErrors, match=r"(?s)no trainer 'first_houre'.*mine.yaml.*did you mean 'first_hour'"):
        pretrain_settings(compose(["size=mine", "--config-dir", str(tmp_path)]))
    for words in ("suggests:", "suggests: {}", "suggests: {size: huge}"):
        (tmp_path / "size" / "mine.yaml").write_text(f"# @package _global_\nmodel:\n  layers: 1\n  {words}\n")
        assert compose(["size=mine", "--config-dir", str(tmp_path)]).values["model"]["layers"] == 1


@pytest.mark.parametrize(("length", "batch"), [(64, 32), (128, 32), (512, 32), (512, 8), (128, 6)])
def test_rows_grow_by_length_warmup_and_steps_keep_their_tokens(length: int, batch: int) -> None:
    made = settings("trainer=length_warmup", f"trainer.sequence_length={length}", f"trainer.batch_size={batch}")
    phases = plan_phases(made.trainer)
    assert [phase.sequence_length for phase in phases] == [8, 16, 32, length]
    assert [phase.steps for phase in phases] == [500] * 4
    assert {phase.batch_size * phase.sequence_length for phase in phases} == {batch * length}


def test_more_is_hidden_first_by_masking_ratio_decay() -> None:
    made = settings("trainer=masking_ratio_decay", "objective=whole_word_mlm", "trainer.steps=10")
    phases = plan_phases(made.trainer)
    assert [phase.steps for phase in phases] == [6, 4]
    shares = [made.objective.changed(phase.objective).mask_probability for phase in phases]
    assert shares == [0.3, 0.15]
    assert made.trainer.start == "counted"
    with pytest.raises(SettingsErrors, match=r"(?s)trainer.phases.0.objective.mask_probability.*objective=bart has no such"):
        settings("model=bart", "objective=bart", "trainer=masking_ratio_decay")


def test_a_batch_by_tokens_is_divided_among_processes_as_any_other() -> None:
    phases = "trainer.phases=[{share: 0.5, sequence_length: 16, token_factor: 1}, {share: 0.5}]"
    given = (phases, "trainer.batch_size=3", "trainer.sequence_length=80", "launch.processes=3")
    assert plan_phases(settings(*given).trainer)[0].batch_size == 15
    with pytest.raises(SettingsErrors, match=r"(?s)trainer.phases.0.batch_size \(20\).*instead of token_factor"):
        settings(*given[:2], "trainer.sequence_length=107", given[3])


def test_sizes_are_in_order_and_end_with_the_published_ones() -> None:
    """By BERT (Devlin et al. 2019, section 3), whose own files stand beside transformers' in test_published_models.py."""
    made = [settings("model=bert", f"size={size}").model.model_dump() for size in ("tiny", "mini", "small", "base", "large")]
    for key in ("layers", "width", "heads", "feed_forward"):
        assert sorted({shape[key] for shape in made}) == [shape[key] for shape in made], key
    for sized, model in ((made[3], "bert"), (made[4], "bert_large")):
        assert {**sized, "name": model} == settings(f"model={model}").model.model_dump()


def test_the_learning_rate_follows_the_size_unless_it_is_given() -> None:
    rates = [settings(f"size={size}").optimizer.lr for size in ("tiny", "mini", "small", "base", "large")]
    assert sorted(rates, reverse=True) == rates  # the larger a model, the smaller its steps
    assert rates[0] > rates[2] > rates[4]
    assert settings("model=electra_small").optimizer.lr == 5e-4  # Clark et al. 2020, appendix A
    assert settings("optimizer=bert", "size=tiny").optimizer.lr == rates[0]
    assert settings("size=tiny", "optimizer.lr=0.02").optimizer.lr == 0.02


def test_objectives_say_what_the_papers_say() -> None:
    """Devlin et al. 2019, section 3.1 (15 %, of it 80 % masks and 10 % random) and their code's dupe_factor; Liu et al. 2019,
    section 4.1 (static masks of ten copies, or new ones every time)."""
    bert, roberta = settings("objective=mlm").objective.model_dump(), settings("objective=dynamic_mlm").objective.model_dump()
    assert (bert["copies"], roberta["copies"]) == (10, None)
    for objective in (bert, roberta):
        assert (objective["mask_probability"], objective["mask_share"], objective["random_share"]) == (0.15, 0.8, 0.1)
    whole = settings("objective=whole_word_mlm").objective.model_dump()
    assert {key for key in whole if whole[key] not in (bert[key], roberta[key])} == {"name", "whole_words"}


def test_an_experiment_is_a_whole_recipe_and_the_command_line_still_wins() -> None:
    recipe = settings("experiment=roberta", "data=text", "data.files=[x]")
    assert (recipe.model.name, recipe.tokenizer.type, recipe.objective.name) == ("roberta", "byte_bpe", "dynamic_mlm")
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
