"""The comments of the YAML files: what each setting means. They are its only description; ``plmtrain list`` and the page of all
settings show them."""

from __future__ import annotations

import re
from pathlib import Path

from plmtrain.files import read_text

_KEY = re.compile(r"( *)([A-Za-z_][A-Za-z0-9_]*):( |$)")


def about(file: Path) -> str:
    """Return the comment at the beginning of a file: its description."""
    lines: list[str] = []
    for line in read_text(file).splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.lstrip("# "))
    return " ".join(lines)


def comments(file: Path) -> dict[str, str]:
    """Return the comment above each key of a file, by the key's path from the top of the file.

    Args:
        file: a YAML file of plain settings, in block style.
    """
    above: list[str] = []
    path: list[tuple[int, str]] = []  # the keys that the current line is below, each with its indentation
    described: dict[str, str] = {}
    for line in read_text(file).splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.strip().lstrip("# "))
            continue
        if (key := _KEY.match(line)) is not None:
            path = [(indent, name) for indent, name in path if indent < len(key[1])]
            path.append((len(key[1]), key[2]))
            if above:
                described[".".join(name for _, name in path)] = " ".join(above)
        above = []
    return described
