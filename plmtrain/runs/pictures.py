"""Pictures of the answers to held-out examples, by matplotlib if it is installed."""

from __future__ import annotations

import io
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plmtrain.files import write_bytes_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from plmtrain.programs.review import Confusion, Review, Scores

_NUMBERED = 20
"""The most labels whose counts are written into the cells."""
_NAMED = 60
"""The most labels that are named beside the matrix."""
_OTHER_SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK SC", "NanumGothic", "WenQuanYi Zen Hei", "Unifont")
"""Fonts for letters that matplotlib's own font lacks, used where they are installed."""


def is_possible() -> bool:
    """Return whether the library for pictures is installed."""
    return find_spec("matplotlib") is not None


def draw(review: Review, folder: Path) -> None:
    """Draw ``confusion.png`` or ``scores.png`` into a folder, of a review that has either."""
    if review.confusion is not None:
        _write(folder / "confusion.png", _size(review.confusion), _draw_confusion, review.confusion)
    if review.scores is not None and np.isfinite(review.scores.given).all():
        _write(folder / "scores.png", (5.0, 5.0), _draw_scores, review.scores)


def _write(path: Path, size: tuple[float, float], fill: Any, content: Confusion | Scores) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.family": _fonts()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter that no installed font has is drawn as a box
        figure = Figure(figsize=size, dpi=120, layout="compressed")  # for axes with a fixed aspect
        fill(figure.add_subplot(), content)
        image = io.BytesIO()
        figure.savefig(image, format="png", bbox_inches="tight", metadata={"Software": None})
    write_bytes_atomically(path, image.getvalue())


def _fonts() -> list[str]:
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _OTHER_SCRIPTS if name in installed)]


def _size(confusion: Confusion) -> tuple[float, float]:
    side = min(16.0, 3.2 + 0.45 * len(confusion.labels))
    return side + 0.8, side


def _draw_confusion(axes: Axes, confusion: Confusion) -> None:
    """Draw a cell for each pair of labels, as dark as its share of the right label."""
    shares, count = confusion.shares, len(confusion.labels)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the expected label")
    names = [label if len(label) <= 24 else f"{label[:23]}…" for label in confusion.labels]
    if count <= _NAMED:
        # parse_math: a dollar sign in a label is no formula.
        axes.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 3 else 0, parse_math=False)
        axes.set_yticks(range(count), names, parse_math=False)
    if count <= _NUMBERED:
        for (row, column), number in np.ndenumerate(confusion.counts):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, f"{number:,}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xlabel("given")
    axes.set_ylabel("expected")
    whole = int(confusion.counts.sum())
    axes.set_title(f"{int(np.trace(confusion.counts)):,} of {whole:,} right", fontsize=11)


def _draw_scores(axes: Axes, scores: Scores) -> None:
    """Draw a point for each example, and the line of right answers."""
    both = np.concatenate([scores.given, scores.expected])
    low, high = float(both.min()), float(both.max())
    margin = 0.05 * (high - low) or 0.5
    ends = (low - margin, high + margin)
    axes.plot(ends, ends, color="0.6", linewidth=1, zorder=1)
    axes.scatter(scores.expected, scores.given, s=14, alpha=min(1.0, max(0.15, 300 / len(scores.given))), linewidths=0, zorder=2)
    axes.set_xlim(ends)
    axes.set_ylim(ends)
    axes.set_aspect("equal")
    axes.set_xlabel("expected")
    axes.set_ylabel("given")
    error = float(np.sqrt(np.mean((scores.given - scores.expected) ** 2)))
    axes.set_title(f"{len(scores.given):,} examples, root mean squared error {error:.3f}", fontsize=11)
