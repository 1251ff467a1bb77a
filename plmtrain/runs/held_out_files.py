"""The files of ``runs/NAME/held_out/``: what the answers of a fine-tuned run to its held-out examples show."""

from __future__ import annotations

import csv
import io
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.files import write_json_atomically, write_text_atomically
from plmtrain.runs import pictures
from plmtrain.training.run_folder import CONFUSION, ERRORS, REVIEW

if TYPE_CHECKING:
    from plmtrain.programs.review import Confusion, Review

MOST_ERRORS = 100
"""The most wrong answers in the file of errors."""


def write_review(folder: Path, review: Review, examples: int) -> None:
    """Write the files of a review.

    Args:
        folder: exists.
        review: of the answers.
        examples: how many were answered.
    """
    summary = {"examples": examples, "collapsed": review.collapsed}
    if review.errors is not None:
        lines = [json.dumps(error, ensure_ascii=False) + "\n" for error in review.errors[:MOST_ERRORS]]
        write_text_atomically(folder / ERRORS, "".join(lines))
    if review.confusion is not None:
        write_text_atomically(folder / CONFUSION, _as_csv(review.confusion))
    if pictures.is_possible():
        try:
            pictures.draw(review, folder)
        except Exception:  # the run's result is saved: a picture that fails must not make it fail
            logging.getLogger("plmtrain").exception("a picture failed")
    write_json_atomically(folder / REVIEW, summary)


def missing_pictures(review: Review) -> list[str]:
    """Return the line that tells why there is no picture of a review; none if there is one, or nothing to draw."""
    if pictures.is_possible() or (review.confusion is None and review.scores is None):
        return []
    what = "the scores" if review.confusion is None else "the confusion matrix"
    return [f"a picture of {what} needs matplotlib: pip install 'plmtrain[report]'"]


def _as_csv(confusion: Confusion) -> str:
    """Return a row for each right label, with the counts of the given ones."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["expected", *confusion.labels])
    writer.writerows([label, *row] for label, row in zip(confusion.labels, confusion.counts.tolist(), strict=True))
    return text.getvalue()
