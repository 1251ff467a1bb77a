"""A tiny run of every objective and of every type of task: a row each, for the tests that hold of all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from support.program_kind import Kind, Records, tiny_shape
from support.tiny_run import TINY_BERT
from support.tiny_task import (
    answered_examples,
    choice_examples,
    chooser,
    finder,
    labelled_with_several,
    labeller,
    member_examples,
    multitasker,
    program,
    question_examples,
    scored_examples,
    scorer,
    several_examples,
    several_right,
    several_right_examples,
    tagged_examples,
    worded_examples,
    worder,
    writer,
)


def _system(words: str) -> list[str]:
    model, *rest = words.split()
    return [model, *tiny_shape(model.removeprefix("model=")), *rest]


def _mixture(records: Records) -> None:
    """One objective first and the others then."""
    trained = [{key.split("/")[1] for key in record if key.startswith("loss/")} for record in records if "loss" in record]
    assert trained[:5] == [{"dynamic_mlm"}] * 5
    assert set().union(*trained[5:]) == {"dense", "rtd"}


def _bart(records: Records) -> None:
    """What is measured beside the loss is no part of it."""
    for record in records:
        if "loss" in record:
            assert math.isclose(record["loss"], record["loss/denoising"], rel_tol=1e-6)
            assert record["loss/corrupted"] > 0


PROGRAMS: Mapping[str, Kind] = {
    "dynamic_mlm": Kind(TINY_BERT, "mask_probability:0.3"),
    "ngram_mlm": Kind(
        _system("model=deberta objective=ngram_mlm model.positions=32 model.relative_positions=9"), "mask_probability:0.3"
    ),
    "nsp": Kind(_system("model=bert objective=nsp model.positions=32"), "max_predictions:2", logged=("val/loss/nsp",)),
    "sop": Kind(
        _system("model=albert objective=sop optimizer=lamb model.positions=32 model.embedding_width=12"),
        "max_predictions:2",
        logged=("val/loss/sop",),
    ),
    "span_mlm": Kind(_system("model=bert objective=span_mlm model.positions=32 optimizer=muon"), "mask_probability:0.3"),
    "spanbert": Kind(
        _system("model=bert objective=spanbert model.positions=32 objective.position_width=8 objective.mask_probability=0.3"),
        "mask_probability:0.2",
        logged=("val/loss/sbo", "val/hidden_loss"),
    ),
    "rtd": Kind(
        _system("model=electra objective=rtd model.positions=32 model.embedding_width=12 objective.generator_width=0.5"),
        "mask_probability:0.3",
        logged=("val/loss/mlm", "val/loss/rtd"),
    ),
    "disentangled_rtd": Kind(
        _system(
            "model=deberta_v3_small objective=rtd model.positions=32 model.relative_positions=9 model.relative_buckets=4 "
            "model.convolution=3 objective.share_embeddings=gradient_disentangled objective.generator_width=1 "
            "data.isolate_documents=true"
        ),
        "mask_probability:0.3",
        points=("train.accum@6", "save.rename@8"),
        logged=("val/loss/mlm", "val/loss/rtd"),
    ),
    "tlm": Kind(
        _system(
            "model=xlm objective=tlm model.positions=32 data=parallel data.files=[none.tsv] data.languages=[en,de,ko] "
            "objective.translation_share=0.5 objective.language_exponent=0.7"
        ),
        "mask_probability:0.3",
        points=("train.forward@3", "train.accum@6", "save.rename@8"),
        logged=("val/mlm/loss_translated_ko",),
    ),
    "encoder_clm": Kind(
        _system(
            "model=xlm_clm objective=multilingual_clm model.positions=32 data=parallel data.files=[none.tsv] "
            "data.languages=[en,de,ko]"
        ),
        "",
        points=("train.forward@3", "save.rename@8"),
        logged=("val/text_loss", "val/perplexity"),
    ),
    "bart": Kind(
        _system("model=bart objective=bart model.positions=40 objective.delete=0.1 objective.insert=0.05 objective.rotate=0.3"),
        phases="[{steps:5},{steps:7,sequence_length:20,batch_size:4,dropout:false,objective:{infill:0.2}}]",
        points=("train.forward@5", "train.accum@6", "save.write@8"),
        logged=("loss/corrupted",),
        claims=_bart,
    ),
    "mass": Kind(
        _system("model=mass objective=mass model.positions=32"),
        "fragment_share:0.3",
        points=("train.forward@5", "save.rename@8"),
        logged=("val/text_loss", "val/perplexity"),
    ),
    # The moments of matrices are factored, so that the row stands for Adafactor too.
    "span_corruption": Kind(
        _system(
            "model=t5_small objective=span_corruption model.head_width=8 optimizer=adafactor optimizer.factor_from=8 "
            "schedule=inverse_sqrt schedule.warmup=4 schedule.flat_warmup=true data.isolate_documents=true"
        ),
        "mean_span_length:2.0",
        logged=("val/content_loss", "val/content_unigram_loss"),
    ),
    "masked_text": Kind(
        _system("model=t5_v1_1_small objective=bert_style model.head_width=8 model.dropout=0.1 model.attention_dropout=0.1"),
        "corruption_rate:0.3",
        logged=("val/content_loss",),
    ),
    "deshuffling": Kind(_system("model=bart objective=deshuffling model.positions=40"), logged=("val/content_loss",)),
    "prefix_lm": Kind(_system("model=gpt2 objective=prefix_lm model.positions=32"), logged=("val/text_loss",)),
    "clm": Kind(
        _system("model=gpt2 objective=clm model.positions=32 model.window=8 data.isolate_documents=true"),
        logged=("val/text_loss",),
    ),
    "plm": Kind(
        _system("model=xlnet objective=plm objective.mem_len=12 data.isolate_documents=true"),
        phases="[{steps:4},{steps:4,sequence_length:22,batch_size:4,objective:{mem_len:16}},{steps:4}]",
        # Before there is a memory, while it fills, where phases begin, and where the streams begin anew.
        points=(
            "train.accum@0",
            "train.accum@1",
            "train.forward@4",
            "eval@5",
            "train.forward@6",
            "save.rename@8",
            "train.forward@9",
            "train.backward@11",
        ),
        carry=("memory", "memory_documents"),
    ),
    "bilm": Kind(
        # With gates and outputs at their limits, and a sample of the words in training.
        _system(
            "model=elmo objective=bilm objective.negatives=20 model.cell_clip=0.3 model.projection_clip=0.1 optimizer=adagrad "
            "optimizer.initial_accumulator=0.1"
        ),
        phases="[{steps:4},{steps:4,sequence_length:9,batch_size:4,objective:{negatives:null}},{steps:4}]",
        points=("train.accum@1", "train.forward@4", "eval@5", "save.rename@8", "train.forward@9"),
        logged=("loss/forward", "val/forward/perplexity", "val/backward/perplexity"),
        carry=("cells", "outputs"),
    ),
    # It starts from two of four layers.
    "distillation": Kind(
        _system("model=distilbert objective=distillation model.positions=32 teacher=large"),
        "kl_over:predicted,mask_probability:0.3",
        teacher=(*_system("model=bert objective=mlm model.positions=32"), "model.layers=4"),
        logged=("loss/kl", "val/loss/cosine", "val/hidden_loss"),
    ),
    # It has half of the teacher's width and layers, and a head for nothing.
    "states": Kind(
        _system(
            "model=bert objective=distillation model.positions=32 teacher=large objective.kl_weight=0 objective.mlm_weight=0 "
            "objective.cosine_weight=0 objective.hidden_weight=1 objective.attention_weight=1 objective.token_head=false "
            "objective.initial_layers=none objective.teacher_width=24"
        ),
        "attention_weight:0.5",
        teacher=(*_system("model=bert objective=mlm model.positions=32"), "model.layers=4", "model.width=24"),
        logged=("loss/hidden", "val/loss/attention"),
    ),
    "causal_distillation": Kind(
        _system(
            "model=gpt2 objective=causal_distillation model.positions=32 teacher=large objective.hidden_weight=0.1 "
            "objective.attention_weight=0.1 data.isolate_documents=true"
        ),
        "kl_weight:1",
        teacher=(*_system("model=gpt2 objective=clm model.positions=32"), "model.layers=4"),
        logged=("loss/kl", "loss/attention", "val/text_loss"),
    ),
    "mixture": Kind(
        _system(
            "model=electra objective=mixture model.positions=32 model.embedding_width=12 "
            "objective.shares={dynamic_mlm:2,rtd:1,dense:1} objective.parts.rtd.generator_width=0.5 "
            "objective.parts.dense.name=mlm objective.parts.dense.mask_probability=0.4"
        ),
        phases="[{steps:5,objective:{shares:{rtd:0,dense:0}}},{steps:7,sequence_length:20,batch_size:4,"
        "objective:{shares:{dynamic_mlm:0,rtd:2},parts:{rtd:{mask_probability:0.3}}}}]",
        claims=_mixture,
    ),
    "classification": Kind(
        TINY_BERT,
        None,
        task=program,
        points=("train.forward@4", "train.accum@6", "save.rename@8", "eval@10", "save.write@12"),
        logged=("val/accuracy",),
    ),
    # Two terms, each with its own number of targets, and pairs in both orders.
    "symmetric": Kind(
        _system("model=gpt1 objective=clm model.positions=32"),
        None,
        task=partial(program, symmetric=True),
        points=("train.accum@6", "save.rename@8"),
        logged=("val/accuracy", "val/loss/lm"),
    ),
    # A frozen model, of whose layers a mix is trained with a penalty; words are read by their letters.
    "features": Kind(
        _system("model=elmo objective=bilm"),
        None,
        task=partial(program, mix_l2=0.01, mix_norm=True),
        points=("train.accum@6", "save.rename@8"),
        logged=("val/accuracy", "val/loss/mix"),
    ),
    # A student without segments learns from a teacher of twice its layers that has some.
    "taught": Kind(
        _system("model=distilbert objective=mlm model.positions=32"),
        None,
        task=partial(program, soft_weight=0.5, hard_weight=0.5),
        teacher=(
            *_system("model=bert model.positions=32"),
            "model.layers=4",
            "task.text=[first,second]",
            "task.labels=[class 0,class 1,class 2]",
            "task=classification",
        ),
        points=("train.accum@6", "save.rename@8"),
        logged=("val/accuracy", "val/loss/soft"),
    ),
    "regression": Kind(
        TINY_BERT,
        None,
        task=scorer,
        examples=scored_examples,
        points=("train.forward@4", "train.accum@6", "save.rename@8", "eval@10", "save.write@12"),
        logged=("val/spearman",),
    ),
    # Several labels a text, and texts of which each window is a row of the model.
    "multi_label": Kind(
        TINY_BERT,
        None,
        task=partial(labelled_with_several, windows="mean", overlap=3),
        examples=several_examples,
        points=("train.accum@6", "eval@10"),
        logged=("val/micro_f1", "val/macro_f1", "val/subset_accuracy"),
    ),
    # Several rows of the model for an example. With smaller weights all scores are about the same, and gradients mostly rounding.
    "multiple_choice": Kind(
        [*TINY_BERT, "model.initial_std=0.2"],
        None,
        task=chooser,
        examples=choice_examples,
        points=("train.accum@6", "eval@10"),
        logged=("val/accuracy",),
    ),
    "several_right": Kind(
        [*TINY_BERT, "model.initial_std=0.3"],
        None,
        task=several_right,
        examples=several_right_examples,
        points=("train.accum@6",),
        logged=("val/f1", "val/exact_match"),
    ),
    "token_labels": Kind(
        TINY_BERT,
        None,
        task=labeller,
        examples=tagged_examples,
        points=("train.accum@6", "eval@10"),
        logged=("val/f1", "val/accuracy"),
    ),
    "question_answering": Kind(
        TINY_BERT,
        None,
        task=finder,
        examples=question_examples,
        points=("train.accum@6", "eval@10"),
        logged=("val/f1", "val/exact_match_no_answer", "val/threshold"),
        unseen="layers.1.feed_forward_norm.bias",  # it adds a number to the scores of all tokens
    ),
    # The words of labels are written, by a model without a head.
    "words": Kind(
        _system("model=t5_small objective=span_corruption model.head_width=8 tokenizer.vocab_size=300"),
        None,
        task=worder,
        examples=worded_examples,
        points=("train.accum@6", "eval@10"),
        logged=("val/accuracy", "val/unknown_answers"),
    ),
    "multitask": Kind(
        _system("model=bart objective=bart model.positions=32"),
        None,
        task=multitasker,
        examples=member_examples,
        points=("train.accum@6", "eval@10"),
        logged=("val/long/chrf", "val/short/accuracy", "val/average"),
    ),
    "sequence_to_sequence": Kind(
        _system("model=bart objective=bart model.positions=32"),
        None,
        task=writer,
        examples=answered_examples,
        points=("train.accum@6", "eval@10"),
        logged=("val/chrf", "val/perplexity"),
    ),
}
"""By the objective's or the task's name."""
