"""The YAML files of models against transformers' default configurations and the published numbers of parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from support.memory_rows import vocabulary_of

from plmtrain import backbones, objectives
from plmtrain.families import embedding_rows
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.run import PretrainSettings

FIFTEEN = ",".join(f"l{number}" for number in range(15))

COUNTS: dict[str, list[tuple[str, int]]] = {
    "bert": [("objective=mlm", 109_514_298), ("objective=nsp", 110_106_428)],
    "bert_large": [("objective=mlm", 335_174_458), ("objective=nsp", 336_226_108)],
    "roberta": [("objective=dynamic_mlm", 124_697_433)],
    "roberta_large": [("objective=dynamic_mlm", 355_412_057)],
    "albert": [("objective=sop", 11_813_810)],
    "albert_large": [("objective=sop", 17_847_474)],
    "albert_xlarge": [("objective=sop", 59_021_490)],
    "albert_xxlarge": [("objective=sop", 223_158_450)],
    "electra_small": [("objective=mlm", 13_546_682)],
    # Discriminator and generator, which have the tables and their norm in common.
    "electra": [("objective=rtd objective.generator_width=0.3333333333333333", 109_483_009 + 33_740_602 - 31_038 * 768)],
    "electra_large": [("objective=rtd objective.generator_width=0.25", 335_142_913 + 51_295_290 - 31_038 * 1024)],
    "distilbert": [("objective=mlm", 66_985_530)],
    # The published general model has 14,350,248: a pooler as large as the head's layer, and neither its norm nor its bias.
    "tinybert": [("objective=mlm", 14_350_248 + 2 * 312 + 30_522)],
    # Without the decoder's table of positions, which transformers' class does not have.
    "deberta": [("objective=ngram_mlm model.mask_decoder=false", 139_244_121)],
    "deberta_large": [("objective=ngram_mlm model.mask_decoder=false", 406_264_921)],
    "deberta_xlarge": [("objective=ngram_mlm model.mask_decoder=false", 758_905_945)],
    # transformers' DebertaV2Model, and a language-model head.
    **{
        model: [("objective=ngram_mlm model.mask_decoder=false", trunk + width**2 + 3 * width + rows)]
        for model, trunk, width, rows in (
            ("deberta_v2_xlarge", 884_593_152, 1536, 128_100),
            ("deberta_v2_xxlarge", 1_564_549_632, 1536, 128_100),
            ("deberta_v3_xsmall", 70_682_112, 384, 128_100),
            ("deberta_v3_small", 141_304_320, 768, 128_100),
            ("deberta_v3_base", 183_831_552, 768, 128_100),
            ("deberta_v3_large", 434_012_160, 1024, 128_100),
            # As the base model; only the vocabulary is another.
            ("mdeberta_v3_base", 183_831_552 + (251_000 - 128_100) * 768, 768, 251_000),
        )
    },
    "xlm": [(f"objective=tlm data=parallel data.languages=[{FIFTEEN}] tokenizer.vocab_size=95000", 249_071_384)],
    # The closed form, with the bias of the output layer.
    "xlm_clm": [("objective=encoder_clm", (60_000 + 512 + 2) * 1024 + 6 * (12 * 1024**2 + 13 * 1024) + 60_000)],
    "xlnet": [("objective=plm", 116_750_336)],
    "xlnet_large": [("objective=plm", 360_300_800)],
    "bart": [("objective=bart", 139_420_416)],
    "bart_large": [("objective=bart", 406_291_456)],
    # The closed form: two tables of positions, six blocks of an encoder, and six of a decoder with a cross-attention each.
    "mass": [
        (
            "objective=mass",
            60_000 * 1024 + 2 * (512 + 2) * 1024 + 6 * (12 * 1024**2 + 13 * 1024) + 6 * (16 * 1024**2 + 19 * 1024),
        )
    ],
    "t5_small": [("objective=span_corruption", 60_506_624)],
    "t5_base": [("objective=span_corruption", 222_903_552)],
    "t5_large": [("objective=span_corruption", 737_668_096)],
    "t5_3b": [("objective=span_corruption", 2_851_598_336)],
    "t5_11b": [("objective=span_corruption", 11_307_321_344)],
    "t5_v1_1_small": [("objective=span_corruption", 76_961_152)],
    "t5_v1_1_base": [("objective=span_corruption", 247_577_856)],
    "t5_v1_1_large": [("objective=span_corruption", 783_150_080)],
    "t5_v1_1_xl": [("objective=span_corruption", 2_849_757_184)],
    "t5_v1_1_xxl": [("objective=span_corruption", 11_135_332_352)],
    "gpt1": [("objective=clm tokenizer.vocab_size=40478", 116_534_784)],
    # The released options and weights, whose table of characters has a row more for padding; and the output layer of training.
    "elmo": [("objective=bilm", 93_600_864 - 16 + 793_471 * 513)],
    # Their authors say 28.0 and 13.6 million.
    "elmo_medium": [("objective=bilm", 28_027_728 + 793_471 * 257)],
    "elmo_small": [("objective=bilm", 13_593_296 + 793_471 * 129)],
    "gpt2": [("objective=clm", 124_439_808)],
    "gpt2_medium": [("objective=clm", 354_823_168)],
    "gpt2_large": [("objective=clm", 774_030_080)],
    "gpt2_xl": [("objective=clm", 1_557_611_200)],
    # As transformers counts GPT-2 with these shapes and 2,048 positions.
    "gpt3_125m": [("objective=clm", 125_226_240)],
    "gpt3_350m": [("objective=clm", 355_871_744)],
    "gpt3_760m": [("objective=clm", 760_300_032)],
    "gpt3_1_3b": [("objective=clm", 1_315_723_264)],
    "gpt3_2_7b": [("objective=clm", 2_651_553_280)],
    "gpt3_6_7b": [("objective=clm", 6_658_404_352)],
    "gpt3_13b": [("objective=clm", 12_853_386_240)],
    "gpt3_175b": [("objective=clm", 174_604_259_328)],
}
"""By model, its parameters with the heads of an objective: as transformers counts its ForMaskedLM, ForPreTraining, LMHeadModel or
ForConditionalGeneration, tied matrices once."""

DEFAULTS = {
    "bert": transformers.BertConfig,
    "albert_xxlarge": transformers.AlbertConfig,
    "electra_small": transformers.ElectraConfig,
    "distilbert": transformers.DistilBertConfig,
    "xlnet_large": transformers.XLNetConfig,
    "deberta_v2_xlarge": transformers.DebertaV2Config,
    "bart_large": transformers.BartConfig,
    "gpt2": transformers.GPT2Config,
    "t5_small": transformers.T5Config,
}
"""The model that a configuration of transformers is when it is told nothing."""

FIELDS = {
    "layers": ("num_hidden_layers", "encoder_layers"),
    "head_width": ("d_kv",),
    "relative_buckets": ("relative_attention_num_buckets",),
    "relative_max_distance": ("relative_attention_max_distance",),
    "gated": ("is_gated_act",),
    "initial_factor": ("initializer_factor",),
    "width": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "feed_forward": ("intermediate_size", "hidden_dim", "d_inner", "encoder_ffn_dim", "n_inner", "d_ff"),
    "embedding_width": ("embedding_size",),
    "positions": ("max_position_embeddings",),
    "segments": ("type_vocab_size",),
    "norm_eps": ("layer_norm_eps", "layer_norm_epsilon"),
    "activation": ("hidden_act", "activation", "ff_activation", "activation_function", "dense_act_fn"),
    "dropout": ("hidden_dropout_prob", "dropout", "resid_pdrop", "dropout_rate"),
    # BART's default has none, the published bart-large has 0.1.
    "attention_dropout": ("attention_probs_dropout_prob", "attn_pdrop"),
    "initial_std": ("initializer_range", "init_std"),
}
"""Our names, and theirs."""

LARGER = {
    "bert_large": "bert",
    "roberta_large": "roberta",
    "albert_large": "albert",
    "albert_xlarge": "albert",
    "albert_xxlarge": "albert",
    "electra": "electra_small",
    "electra_large": "electra",
    **dict.fromkeys(("deberta_large", "deberta_xlarge"), "deberta"),
    "deberta_v2_xxlarge": "deberta_v2_xlarge",
    **{f"deberta_v3_{size}": "deberta_v3_base" for size in ("xsmall", "small", "large")},
    "mdeberta_v3_base": "deberta_v3_base",
    "xlnet_large": "xlnet",
    "bart_large": "bart",
    **dict.fromkeys(("gpt2_medium", "gpt2_large", "gpt2_xl"), "gpt2"),
    **dict.fromkeys(("t5_small", "t5_large", "t5_3b", "t5_11b"), "t5_base"),
    **{f"t5_v1_1_{size}": "t5_v1_1_base" for size in ("small", "large", "xl", "xxl")},
    **{f"gpt3_{size}": "gpt3_125m" for size in ("350m", "760m", "1_3b", "2_7b", "6_7b", "13b", "175b")},
}


def settings(model: str, *overrides: str) -> PretrainSettings:
    data = () if any(one.startswith("data=") for one in overrides) else ("data=text",)
    files = () if "data=sample" in overrides else ("data.files=[x]",)
    return pretrain_settings(compose([f"model={model}", *data, *files, *overrides]))


@pytest.mark.parametrize(("model", "overrides", "parameters"), [(model, *row) for model, rows in COUNTS.items() for row in rows])
def test_published_numbers_of_parameters(model: str, overrides: str, parameters: int) -> None:
    """Layers, widths, tables and vocabulary as the YAML has them."""
    made = settings(model, *overrides.split())
    vocabulary = vocabulary_of(made.tokenizer.family, made.tokenizer.vocab_size)
    with torch.device("meta"):
        learner = objectives.build(made.objective, made.model, vocabulary).build(
            lambda shape: backbones.build(shape, embedding_rows(shape.family, vocabulary.size))
        )
    assert sum(parameter.numel() for parameter in learner.parameters()) == parameters


def test_every_model_is_counted() -> None:
    assert set(COUNTS) == set(choices("model"))


@pytest.mark.parametrize("model", DEFAULTS)
def test_transformers_default_configurations(model: str) -> None:
    """What no number of parameters tells: heads, activations, dropout, the norm's epsilon."""
    objective = COUNTS[model][0][0].split()[0]
    made, theirs = settings(model, objective), DEFAULTS[model]()
    ours = made.model.model_dump()
    known = {field: getattr(theirs, name) for field, names in FIELDS.items() for name in names if hasattr(theirs, name)}
    if known.get("feed_forward", 0) is None:  # GPT-2's means four times the width
        known["feed_forward"] = 4 * known["width"]
    if known.get("positions") == -1:  # XLNet's distances have no end; ours is the longest row of its pretraining
        del known["positions"]
    known["activation"] = {"gelu_new": "gelu_tanh"}.get(known["activation"], known["activation"])
    assert {"layers", "width", "heads", "feed_forward", "activation", "dropout"} <= known.keys()
    assert {field: ours[field] for field in known if field in ours} == {field: known[field] for field in known if field in ours}
    assert embedding_rows(made.model.family, made.tokenizer.vocab_size) == theirs.vocab_size


@pytest.mark.parametrize(("larger", "smaller"), LARGER.items())
def test_a_larger_model_of_a_family_differs_in_its_shape_alone(larger: str, smaller: str) -> None:
    """Its numbers of parameters say that the shape is the published one. ALBERT's largest has no dropout (section 4.1)."""

    def rest(model: str) -> dict[str, Any]:
        shape = {"name", "layers", "width", "heads", "head_width", "feed_forward", "embedding_width"}
        if larger == "albert_xxlarge":
            shape |= {"dropout", "attention_dropout"}
        return settings(model, COUNTS[model][0][0].split()[0]).model.model_dump(exclude=shape)

    assert rest(larger) == rest(smaller)


@pytest.mark.parametrize("model", [model for model in COUNTS if not model.startswith(("t5", "elmo"))])
def test_heads_are_64_wide_or_as_published(model: str) -> None:
    """BERT's rule (Devlin et al. 2019, section 3: A = H / 64) but for XLM and ALBERT-xlarge, whose released files have 128, for
    GPT-3 (Brown et al. 2020, table 2.1), and for TinyBERT (Jiao et al. 2020, section 4.1), which has the heads of its teacher."""
    made = settings(model, *COUNTS[model][0][0].split()).model.model_dump()
    published = {"tinybert": 26, "xlm": 128, "xlm_clm": 128, "mass": 128, "albert_xlarge": 128, "gpt3_760m": 96, "gpt3_2_7b": 80}
    published |= dict.fromkeys(("gpt3_1_3b", "gpt3_6_7b", "gpt3_13b", "gpt3_175b"), 128)
    assert made["width"] == made["heads"] * published.get(model, 64)
    assert made["feed_forward"] == (1200 if model == "tinybert" else 4 * made["width"])


def test_roberta_is_bert_with_what_its_authors_changed() -> None:
    """The epsilon is that of fairseq's norms; two rows before the positions, and one segment, are seen in the parameters."""
    bert, roberta = settings("bert").model.model_dump(), settings("roberta").model.model_dump()
    changed = {key: roberta[key] for key in bert if bert[key] != roberta[key]}
    assert changed == {
        "name": "roberta",
        "family": "roberta",
        "norm_eps": 1e-5,
        "position_offset": 2,
        "segments": 1,
        "initial_truncated": False,
    }


@pytest.mark.parametrize(
    ("model", "kind", "lowercase"),
    [
        ("bert", "wordpiece", True),  # Devlin et al. 2019, section 3; the uncased release
        ("electra", "wordpiece", True),  # Clark et al. 2020: BERT's
        ("distilbert", "wordpiece", True),
        ("roberta", "byte_bpe", False),  # Liu et al. 2019, section 4.4
        ("deberta", "byte_bpe", False),  # He et al. 2020, section 5.1
        ("deberta_v3_base", "unigram", False),  # their spm_tokenizer.py
        ("bart", "byte_bpe", False),  # Lewis et al. 2020, section 5: RoBERTa's
        ("albert", "unigram", True),  # Lan et al. 2020, section 4.1
        ("xlnet", "unigram", False),  # Yang et al. 2019, section 3.1
        ("t5_base", "unigram", False),  # Raffel et al. 2020, section 2.1
    ],
)
def test_a_model_brings_its_tokenizer(model: str, kind: str, lowercase: bool) -> None:
    objective = COUNTS[model][0][0]

    def tokenizer(*overrides: str) -> Any:
        return settings(model, *objective.split(), *overrides).tokenizer

    made = tokenizer()
    assert (made.type, made.lowercase) == (kind, lowercase)
    # Another kind keeps the family's special tokens, however it is asked for.
    for override in ("tokenizer=wordpiece", "tokenizer.type=wordpiece"):
        other = tokenizer(override)
        assert (other.type, other.family, other.lowercase) == ("wordpiece", made.family, lowercase)
    # A small text or a small model takes a small vocabulary, unless told otherwise.
    assert tokenizer("data=sample").vocab_size < tokenizer("size=tiny").vocab_size < made.vocab_size
    assert tokenizer("size=tiny", "tokenizer.vocab_size=999").vocab_size == 999


def test_a_size_of_elmo_is_its_own() -> None:
    """Not that of a Transformer: it has none of these settings. What the command line says comes last."""
    made = settings("elmo", "objective=bilm", "size=tiny", "model.highways=3").model
    assert (made.cells, made.projection, made.highways, made.dropout, made.width) == (256, 64, 3, 0.0, 128)
    assert settings("elmo", "objective=bilm", "size=large").model == settings("elmo", "objective=bilm").model
