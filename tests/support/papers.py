"""What papers, and their authors' code, say of the pretraining that the recipes repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from support import original_schedules as originals


@dataclass(frozen=True)
class Paper:
    """What a paper says of its pretraining.

    Args:
        place: the paper, and where in it.
        model: what it trains.
        rate: the formula of its learning rate, of step, warm-up, peak and steps.
        peak, warmup, steps: the numbers in it.
        rows: sequences in a step.
        phases: the share of the steps that have each length.
        facts: further settings; the comment behind each says where it is from.
    """

    place: str
    model: str
    rate: Callable[[int, int, float, int], float]
    peak: float
    warmup: int
    steps: int
    rows: int
    phases: Mapping[int, float]
    facts: Mapping[str, Any] = field(default_factory=dict)


ELECTRA = {
    "objective.with_replacement": True,  # tf.random.categorical of their pretrain_helpers.py
    "objective.budget_counts": "row",  # num_tokens there: the sum of the input mask
    # their build_pretraining_dataset.py
    "objective.source": "segment_pairs",
    "objective.segments.pair_copies": 1,
    "objective.segments.short_share": 0.05,
    "objective.segments.single_share": 0.1,
}
"""What the authors' code does for models of all sizes."""

PAPERS = {
    "bert": Paper(
        "Devlin et al. 2019, appendix A.2",
        "bert",
        originals.bert,
        peak=1e-4,
        warmup=10_000,
        steps=1_000_000,
        rows=256,
        phases={128: 0.9, 512: 0.1},
        facts={
            "optimizer.bias_correction": False,  # their optimization.py has none
            "objective.relation": "next",  # section 3.1, Task 2
            "objective.pair_copies": 10,  # dupe_factor of their create_pretraining_data.py
            "objective.short_share": 0.1,  # short_seq_prob there
            "objective.budget_counts": "row",  # create_masked_lm_predictions there: len(tokens), with [CLS] and [SEP]
            "model.activation": "gelu_tanh",  # gelu of their modeling.py
        },
    ),
    "roberta": Paper(
        "Liu et al. 2019, section 3.1 and appendix B",
        "roberta",
        originals.fairseq,
        peak=6e-4,
        warmup=24_000,
        steps=500_000,
        rows=8192,
        phases={512: 1},
        facts={
            "optimizer.betas": (0.9, 0.98),  # section 3.1
            "optimizer.clip_norm": None,  # appendix B
            "optimizer.weight_decay_on": "all",  # fairseq's trainer.py: one list of parameters
            # fairseq's mask_tokens_dataset.py: every position, and random tokens beyond the dictionary's first four
            "objective.candidates": "all",
            "objective.budget_counts": "row",
            "objective.random_tokens": "ordinary_and_mask",
        },
    ),
    "albert": Paper(
        "Lan et al. 2020, section 4.1",
        "albert",
        originals.bert,
        peak=0.00176,
        warmup=3125,
        steps=125_000,
        rows=4096,
        phases={512: 1},
        facts={
            "optimizer.type": "lamb",  # section 4.1
            "optimizer.bias_correction": False,  # their lamb_optimizer.py has none
            "objective.relation": "order",  # section 3.1
            "objective.max_ngram": 3,  # section 4.1
            "objective.pair_copies": 40,  # dupe_factor of their create_pretraining_data.py
        },
    ),
    "electra_small": Paper(
        "Clark et al. 2020, appendix A",
        "electra_small",
        originals.electra,
        peak=5e-4,
        warmup=10_000,
        steps=1_000_000,
        rows=128,
        phases={128: 1},
        facts={"objective.mask_probability": 0.15, "objective.generator_width": 1 / 4, **ELECTRA},
    ),
    "electra_base": Paper(
        "Clark et al. 2020, appendix A",
        "electra",
        originals.electra,
        peak=2e-4,
        warmup=10_000,
        steps=766_000,
        rows=256,
        phases={512: 1},
        facts={"objective.mask_probability": 0.15, "objective.generator_width": 1 / 3, **ELECTRA},
    ),
    "electra_large": Paper(
        "Clark et al. 2020, appendix A",
        "electra_large",
        originals.electra,
        peak=2e-4,
        warmup=10_000,
        steps=400_000,
        rows=2048,
        phases={512: 1},
        facts={"objective.mask_probability": 0.25, "objective.generator_width": 1 / 4, **ELECTRA},
    ),
    "spanbert": Paper(
        "Joshi et al. 2020, section 4.2",
        "bert",
        originals.fairseq,
        peak=1e-4,
        warmup=10_000,
        steps=2_400_000,
        rows=256,
        phases={512: 1},
        facts={
            # section 4.2
            "objective.position_width": 200,
            "tokenizer.lowercase": False,
            # Their trainer.py divides the gradient of a mean by the number of predicted tokens once more: 614, 0.15 of the 4096
            # tokens of a GPU. So 1e-8 (section 4.2) is 6e-6 beside the gradient of the mean, as in their commands with
            # --no-sample-size-normalization, and --clip-norm 1.0 is a norm of 614.
            "optimizer.eps": 6e-6,
            "optimizer.clip_norm": None,
            "optimizer.weight_decay_on": "all",  # fairseq's trainer.py: one list of parameters
        },
    ),
    "deberta": Paper(
        "He et al. 2020, appendix A.2, table 9",
        "deberta",
        originals.fairseq,
        peak=2e-4,
        warmup=10_000,
        steps=1_000_000,
        rows=2048,
        phases={512: 1},
        facts={
            # table 9
            "optimizer.betas": (0.9, 0.999),
            "optimizer.eps": 1e-6,
            "optimizer.weight_decay": 0.01,
            "optimizer.clip_norm": 1.0,
            "objective.max_ngram": 3,
            "objective.whole_words": True,
            "model.norm_eps": 1e-7,
            "model.mask_decoder": True,  # section 3.2
        },
    ),
    "deberta_v3_small": Paper(
        "He et al. 2021, the appendix's table of pre-training",
        "deberta_v3_small",
        originals.fairseq,
        peak=6e-4,
        warmup=10_000,
        steps=500_000,
        rows=8192,
        phases={512: 1},
        facts={
            # the same table
            "optimizer.betas": (0.9, 0.98),
            "optimizer.eps": 1e-6,
            "optimizer.weight_decay": 0.01,
            "optimizer.clip_norm": 1.0,
            # their rtd_small.json
            "model.layers": 6,
            "model.relative_buckets": 256,
            "model.shared_projections": True,
            "model.normed_distances": True,
            "model.convolution": None,
            "objective.generator_layers": 0.5,
            "objective.generator_width": 1.0,
            "objective.share_embeddings": "gradient_disentangled",
            # keep_prob and mask_prob of their rtd_task.py
            "objective.mask_share": 1.0,
            "objective.random_share": 0.0,
            "objective.budget_counts": "row",  # len(tokens) of their mlm_task.py
            "objective.discriminator_weight": 50.0,  # section 4
        },
    ),
    "xlnet": Paper(
        "Yang et al. 2019, appendix A.4, table 7",
        "xlnet_large",
        originals.xlnet,
        peak=4e-4,
        warmup=40_000,
        steps=500_000,
        rows=8192,
        phases={512: 1},
        facts={
            # num_predict and mem_len of their train.py's example
            "objective.num_predict": 85,
            "objective.mem_len": 384,
            "model.activation": "gelu_tanh",  # gelu of their modeling.py
        },
    ),
    "xlm": Paper(
        "Lample and Conneau 2019, section 5.1; the optimiser is that of their README's command for MLM and TLM",
        "xlm",
        originals.xlm,
        peak=1e-4,
        warmup=4000,  # warmup_updates of their optim.py
        steps=500_000,
        rows=2 * 64,
        phases={256: 1},
        facts={
            # the command: adam_inverse_sqrt,beta1=0.9,beta2=0.98,lr=0.0001,weight_decay=0; eps of their optim.py
            "optimizer.betas": (0.9, 0.98),
            "optimizer.weight_decay": 0.0,
            "optimizer.eps": 1e-8,
            "optimizer.clip_norm": 5.0,  # clip_grad_norm of their train.py
            "data.document_per": "line",  # their preprocess.py: each line is a sentence, closed by </s>
        },
    ),
    "mass": Paper(
        "Song et al. 2019, section 4.1; the learning rate and the warm-up are from their code",
        "mass",
        originals.xlm,
        peak=1e-4,
        warmup=4_000,
        steps=500_000,
        rows=48,
        phases={256: 1},
        facts={
            "optimizer.betas": (0.9, 0.98),  # the optimiser of their command
            "optimizer.weight_decay": 0.0,
            "optimizer.clip_norm": 5.0,  # clip_grad_norm of their train.py
            "objective.fragment_share": 0.5,  # word_mass of their command
            "objective.by_language": True,
        },
    ),
    "mbart": Paper(
        "Liu et al. 2020, section 2.2; the learning rate and the warm-up are RoBERTa-large's (Liu et al. 2019, appendix B)",
        "bart_large",
        originals.fairseq,
        peak=4e-4,
        warmup=30_000,
        steps=500_000,
        rows=256,
        phases={512: 1},
        facts={
            # section 2.2
            "objective.infill": 0.35,
            "objective.span_mean": 3.5,
            "objective.permute": 1.0,
            "objective.language_exponent": 0.7,
            "optimizer.betas": (0.9, 0.98),
            "optimizer.eps": 1e-6,
            "model.family": "mbart",
            "tokenizer.vocab_size": 250_027,
        },
    ),
    "bart": Paper(
        "Lewis et al. 2020, section 5.1; the learning rate is RoBERTa-large's (Liu et al. 2019, appendix B)",
        "bart_large",
        originals.fairseq,
        peak=4e-4,
        warmup=30_000,
        steps=500_000,
        rows=8000,
        phases={512: 1},
        facts={
            # section 5.1
            "objective.infill": 0.3,
            "objective.permute": 1.0,
            "objective.mask": 0.0,
            "objective.delete": 0.0,
            "optimizer.weight_decay_on": "all",  # fairseq's trainer.py: one list of parameters
        },
    ),
    **{
        model: Paper(
            "Raffel et al. 2020, section 3.7; the learning rate is that of section 3.1.2",
            model,
            originals.t5,
            peak=0.01,
            warmup=10_000,
            steps=1_000_000,
            rows=2**11,
            phases={512: 1},
            facts={
                # section 3.7
                "objective.corruption_rate": 0.15,
                "objective.mean_span_length": 3.0,
                # section 3.1.2, and the defaults of mesh_tensorflow's optimize.py
                "optimizer.type": "adafactor",
                "optimizer.decay_power": 0.8,
                "optimizer.clip_update": 1.0,
                "optimizer.scale_by_parameter": True,
                "optimizer.factor_from": 128,
                "optimizer.weight_decay": 0.0,
                "optimizer.clip_norm": None,
                "tokenizer.vocab_size": 32_000 + 100,  # section 2.1, and the sentinels of section 3.1.4
            },
        )
        for model in ("t5_small", "t5_base")
    },
    "elmo": Paper(
        "Peters et al. 2018, section 3.4; the optimiser and the shape of a step are those of their bin/train_elmo.py",
        "elmo",
        originals.constant,
        peak=0.2,
        warmup=0,
        steps=round(10 * 768_648_884 / (3 * 128 * 20)),
        rows=3 * 128,
        phases={20: 1},
        facts={
            "tokenizer.vocab_size": 793_471,  # n_tokens_vocab
            "objective.negatives": 8192,  # n_negative_samples_batch
            "optimizer.type": "adagrad",
            "optimizer.initial_accumulator": 1.0,  # initial_accumulator_value of their training.py
            "optimizer.clip_norm": 10.0,  # all_clip_norm_val
        },
    ),
    "gpt1": Paper(
        "Radford et al. 2018, section 4.1",
        "gpt1",
        originals.gpt1,
        peak=2.5e-4,
        warmup=2000,
        steps=3_000_000,  # the report says 100 epochs
        rows=64,
        phases={512: 1},
        facts={"optimizer.weight_decay": 0.01, "tokenizer.type": "bpe", "tokenizer.vocab_size": 40478 + 3},
    ),
    "gpt2": Paper(
        "Radford et al. 2019, section 2.3; the learning rate and its schedule are GPT-1's (Radford et al. 2018, section 4.1)",
        "gpt2",
        originals.gpt1,
        peak=2.5e-4,
        warmup=2000,
        steps=100_000,  # not published
        rows=512,
        phases={1024: 1},
    ),
}
