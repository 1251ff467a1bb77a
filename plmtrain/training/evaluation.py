"""The loss on held-out rows, with the same noise in every validation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plmtrain.batch import Batch
from plmtrain.data.rows.mixed_rows import HeldOut, RowsBySource
from plmtrain.data.rows.rows import RowSource, by_size, rows_of, streams_of
from plmtrain.data.tables.examples import ExampleSource
from plmtrain.errors import Stopped
from plmtrain.faults import fault_point
from plmtrain.keyed_random import Keys
from plmtrain.programs.parts import Part
from plmtrain.programs.program import AnyProgram, Carry, Trainable
from plmtrain.training.group import Group
from plmtrain.training.prediction import by_example, predict_all
from plmtrain.training.step import Step

_SEED = 0
"""Independent of the run's seed, so that runs with different seeds are compared on the same masks."""


def held_out_batches(
    program: AnyProgram, rows: RowSource, batch_size: int, micro_batch_size: int | None, group: Group, limit: int | None
) -> Iterator[tuple[Batch, bool]]:
    """Yield this process's part of every batch of held-out rows in micro-batches, and whether each counts.

    A process without rows in a micro-batch takes the batch's first row, which does not count, so that all processes execute the
    same collective operations. For streams, a batch is one row of every stream, taken at once, and both sizes are ignored.
    """
    if (streams := streams_of(rows)) is not None:
        batch_size, micro_batch_size = streams, None
    count = len(rows) if limit is None else min(len(rows), limit * batch_size)
    order = by_size(rows, count)
    for first in range(0, count, batch_size):
        everyone = order[first : first + batch_size]
        shares = np.array_split(everyone, group.size)
        own, largest = shares[group.rank], len(shares[0])
        for start in range(0, largest, size := micro_batch_size or largest):
            part = own[start : start + size]
            taken = part if len(part) else everyone[:1]
            yield program.collate(rows.fetch(taken), Keys(_SEED, np.zeros(len(taken), np.int64), taken)), bool(len(part))


@torch.no_grad()
def evaluate(
    module: nn.Module,
    trained: Trainable,
    rows: HeldOut,
    group: Group,
    *,
    batch_size: int,
    micro_batch_size: int | None = None,
    unigram: NDArray[np.float64] | None = None,
    limit: int | None = None,
    step: int | None = None,
) -> dict[str, float] | None:
    """Compute the held-out loss and the program's measures.

    Args:
        module: the wrapped ``Step``.
        trained: the program, or the mixture, that computes the loss.
        rows: the held-out rows.
        group: the processes that evaluate together.
        batch_size: rows in a batch, over all processes.
        micro_batch_size: rows that a process takes at a time; None for all of its share.
        unigram: [vocabulary] as in ``Program.measures``.
        limit: the maximum number of batches.
        step: the training step, for fault injection.

    Returns:
        ``loss``, ``loss/TERM`` and ``TERM/COUNT`` (e.g. ``mlm/accuracy``) for each term, ``Program.measures``,
        ``Answering.score``, and ``perplexity`` if the loss is a language model's; for a mixture, the result of ``Parts.join``;
        for several texts, the same of each as ``SOURCE/loss`` and so on, and the means over texts by their shares in training;
        None if a signal asked to stop meanwhile.
    """
    if isinstance(rows, RowsBySource):
        texts: dict[str, dict[str, float]] = {}
        for name, own in rows.sources.items():
            alone = evaluate(
                module,
                trained,
                own,
                group,
                batch_size=batch_size,
                micro_batch_size=micro_batch_size,
                unigram=unigram,
                limit=limit,
                step=step,
            )
            if alone is None:
                return None
            texts[name] = alone
        return _of_texts(texts, rows.shares)
    parts = trained.parts
    measured: dict[str | None, dict[str, float]] = {}
    for part in parts.members:
        values = _evaluate(module, part, rows_of(rows, part.name), group, batch_size, micro_batch_size, unigram, limit, step)
        if values is None:
            return None
        measured[part.name] = values
    return measured[None] if parts.join is None else parts.join({name: measured[name] for name in parts.names})


def _of_texts(measured: Mapping[str, Mapping[str, float]], shares: Mapping[str, float]) -> dict[str, float]:
    """Return the mean of each measure over several texts by their shares, and the measures of each text.

    The mean of perplexities is that of their logarithms: it belongs to the mean of the losses.
    """
    whole: dict[str, float] = {}
    for key in dict.fromkeys(key for values in measured.values() for key in values):
        having = {name: values[key] for name, values in measured.items() if key in values}
        given = {name: shares[name] / sum(shares[other] for other in having) for name in having}
        if key.rpartition("/")[2] == "perplexity":
            whole[key] = math.exp(sum(given[name] * math.log(value) for name, value in having.items()))
        else:
            whole[key] = sum(given[name] * value for name, value in having.items())
    return whole | {f"{name}/{key}": value for name, values in measured.items() for key, value in values.items()}


def _evaluate(
    module: nn.Module,
    part: Part,
    rows: RowSource,
    group: Group,
    batch_size: int,
    micro_batch_size: int | None,
    unigram: NDArray[np.float64] | None,
    limit: int | None,
    step: int | None,
) -> dict[str, float] | None:
    """Evaluate one part."""
    was_training = module.training
    module.eval()
    sums: dict[str, Tensor] = {}
    weights: dict[str, float] = {}
    carry: Carry = {}
    try:
        for batch, counts in held_out_batches(part.program, rows, batch_size, micro_batch_size, group, limit):
            fault_point("eval", step)
            if group.anyone_asked_to_stop():
                return None
            terms, carry = module(part, batch.to(group.device), carry)
            for name, term in terms.items():
                weights[name] = term.weight
                counted = {f"loss/{name}": term.total, f"normaliser/{name}": torch.tensor(float(term.normaliser))}
                counted |= {f"{name}/{key}": count for key, count in term.counts.items()}
                for key, value in counted.items():
                    sums[key] = sums.get(key, torch.zeros((), dtype=torch.float64)) + counts * value.double().cpu()
        scores = _scores(module, part, rows, group, batch_size, micro_batch_size, limit)
    finally:
        module.train(was_training)
    return None if scores is None else {**_ratios(sums, weights, group, part.program, unigram), **scores}


def _scores(
    module: nn.Module,
    part: Part,
    rows: RowSource,
    group: Group,
    batch_size: int,
    micro_batch_size: int | None,
    limit: int | None,
) -> dict[str, float] | None:
    """Compute the measures that need the predictions of all rows. None if a signal asked to stop."""
    answering = part.program.answering
    if answering is None or not answering.scored:
        return {}
    assert isinstance(rows, ExampleSource)
    step = group.unwrapped(module)
    assert isinstance(step, Step)
    try:
        with group.gathered(module):
            answers = predict_all(
                answering,
                part.learner(step.learner),
                rows,
                group,
                batch_size=batch_size,
                micro_batch_size=micro_batch_size,
                precision=step.precision,
                count=None if limit is None else limit * batch_size,
            )
    except Stopped:
        return None
    predictions = by_example(answering, answers, rows.owners)
    return answering.score(predictions, rows.references[: len(predictions)])


def _ratios(
    sums: dict[str, Tensor], weights: dict[str, float], group: Group, program: AnyProgram, unigram: NDArray[np.float64] | None
) -> dict[str, float]:
    """Divide the sums over all processes by their term's normaliser; array-valued counts go to ``Program.measures``."""
    names = sorted(sums)
    whole = group.sum(torch.cat([sums[name].flatten() for name in names]).to(group.device)).cpu()
    parts = torch.split(whole, [sums[name].numel() for name in names])
    added = {name: part.reshape(sums[name].shape) for name, part in zip(names, parts, strict=True)}
    totals = {name: float(part) for name, part in added.items() if part.dim() == 0}
    values: dict[str, float] = {}
    for name in program.terms:
        counted = max(totals.pop(f"normaliser/{name}"), 1e-9)
        values[f"loss/{name}"] = totals.pop(f"loss/{name}") / counted
        values |= {key: total / counted for key, total in totals.items() if key.startswith(f"{name}/")}
    several = {name: part.numpy() for name, part in added.items() if part.dim()}
    values |= program.measures(several, unigram)
    values["loss"] = sum(weights[name] * values[f"loss/{name}"] for name in program.terms)
    if program.has_perplexity:
        values["perplexity"] = math.exp(min(values["loss"], 700.0))
    return values
