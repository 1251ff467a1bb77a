"""The files of ``runs/NAME/held_out/``: what the answers of a fine-tuned run to its held-out examples show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain.files import write_json_atomically

if TYPE_CHECKING:
    from plmtrain.programs.review import Review


def write_review(folder: Path, review: Review, examples: int) -> None:
    """Write the files of a review.

    Args:
        folder: exists.
        review: of the answers.
        examples: how many were answered.
    """
    write_json_atomically(folder / "summary.json", {"examples": examples, "collapsed": review.collapsed})
