"""Minimal pairs: how often the acceptable sentence is more likely than the unacceptable one (Warstadt et al. 2020, BLiMP)."""

from __future__ import annotations

import numpy as np

from plmtrain.console import counted
from plmtrain.errors import DataError
from plmtrain.scoring.examples import cell_text, continuation, log_likelihood, require_tokens, rows
from plmtrain.scoring.report import Report, Subject, by_file, share
from plmtrain.settings.scoring.minimal_pairs import MinimalPairsSettings


def score(settings: MinimalPairsSettings, subject: Subject) -> Report:
    """Compute the accuracy, in which a tie counts half.

    Args:
        settings: the files and their columns.
        subject: the model.
    """
    likelihood = subject.likelihood(settings)
    columns = {settings.good_column: "scoring.good_column", settings.bad_column: "scoring.bad_column"}
    files, sentences, asked = [], [], []
    for file, row in rows(settings.files, columns, "scoring.files"):
        files.append(file)
        for column in (settings.good_column, settings.bad_column):
            text = cell_text(row, column)
            sentence = continuation(subject.tokenizer, "", text)
            require_tokens(sentence, text, row.where, likelihood.longest)
            sentences.append(text)
            asked.append(sentence)
    if not files:
        raise DataError("there are no pairs", "scoring.files", "name files with pairs in them")
    scored = zip(likelihood.losses(asked), sentences, strict=True)
    worth = np.array([log_likelihood(losses, text, settings.compare) for losses, text in scored])
    good, bad = worth[0::2], worth[1::2]
    right = np.where(good == bad, 0.5, good > bad)
    ties = int((good == bad).sum())
    return Report(
        measured=likelihood.name,
        examples=len(files),
        scores=[share("accuracy", right, "of pairs")],
        by_file=by_file("accuracy", files, right),
        counts={"ties": ties},
        notes=[*likelihood.notes, *([f"{counted(ties, 'tie')}: pairs that are equally likely count half"] if ties else [])],
    )
