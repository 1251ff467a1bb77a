#!/usr/bin/env python
"""Draws the pictures of the documentation from what plmtrain really prints and measures.

    python scripts/draw_pictures.py inspect              docs/pictures/inspect.svg, from ``plmtrain inspect`` on the sample text
    python scripts/draw_pictures.py curve runs/NAME      docs/pictures/curve.svg, from a run's metrics.jsonl (needs matplotlib)
    python scripts/draw_pictures.py curve runs/NAME hour docs/pictures/hour.svg, in the same way

The same output gives the same bytes: no dates, no random names, no fonts from elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS = 108
INSPECT = "inspect model=bert size=tiny objective=whole_word_mlm data=sample trainer.sequence_length=48".split()

SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
 font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own frame without the fonts that it fetches from elsewhere."""


def draw_inspect(target: Path) -> None:
    """Draw the output of ``plmtrain inspect``, in its colours."""
    from rich.console import Console
    from rich.text import Text

    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "plmtrain", *INSPECT]
    printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere)
        console.print(Text.from_ansi(printed))
    drawn = console.export_svg(title=f"plmtrain {' '.join(INSPECT)}", code_format=SVG, unique_id="inspect")
    target.write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n", encoding="utf-8")


def draw_curve(run: Path, target: Path) -> None:
    """Draw the losses of a masked run over its steps, beside the unigram loss of its hidden validation tokens."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "plmtrain", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10})
    import matplotlib.pyplot as plt

    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    unigram = next(record["val/hidden_unigram_loss"] for record in records if "val/hidden_unigram_loss" in record)
    figure, axes = plt.subplots(figsize=(7.2, 3.4))
    for key, label, style in (
        ("loss", "training loss", {"color": "#7aa6c2", "lw": 1}),
        ("val/hidden_loss", "validation loss of hidden tokens", {"color": "#b5402f", "marker": "o", "ms": 3}),
    ):
        points = [(record["step"], record[key]) for record in records if key in record]
        axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.axhline(unigram, color="#444444", ls="--", lw=1, label=f"unigram loss of hidden tokens, {unigram:.2f}")
    axes.set(xlabel="step", ylabel="nats a token", xlim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.86), frameon=False)  # below the line, above the curves
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None, "Creator": None}, facecolor="white")


def main(arguments: list[str]) -> None:
    """Draw what is asked for."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    if arguments == ["inspect"]:
        draw_inspect(PICTURES / "inspect.svg")
    elif len(arguments) in (2, 3) and arguments[0] == "curve":
        run, name = (*arguments[1:], "curve")[:2]
        draw_curve(Path(run), PICTURES / f"{name}.svg")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
