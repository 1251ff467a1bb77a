"""The README and the pages of docs/ as tests read them: their blocks, the commands in these, and the files that they write."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FILE = re.compile(r"(?:# @package _global_\n)?# ([\w./-]+\.(?:py|yaml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        page: the page's name.
        heading: what it stands under, of the second level.
        language: what stands behind its fence.
        text: what is in it.
    """

    page: str
    heading: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is, where its first line says so, or the one behind the line that must be Hydra's."""
        named = _FILE.match(self.text) if self.language in ("python", "yaml") else None
        return named[1] if named else None

    @property
    def commands(self) -> list[str]:
        """Its command lines, with those that go on in the next line joined."""
        if self.language != "sh":
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.removeprefix(".venv/bin/") for line in lines if line and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found, heading = [], ""
    parts = re.compile(r"^## ([^\n]+)$|^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    for title, language, text in parts.findall(page.read_text("utf-8")):
        if title:
            heading = title
        else:
            found.append(Block(page.name, heading, language, text))
    return found


def write_files(found: Sequence[Block], folder: Path) -> None:
    """Put the files that a page shows where it says that they are."""
    for block in found:
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def words_of(command: str) -> list[str]:
    """What a shell makes of a command line, its comment left out."""
    return shlex.split(command, comments=True)


def shrunk(words: Sequence[str], smaller: Mapping[str, Mapping[str, object]]) -> list[str]:
    """A command with smaller settings in place of its own, so that a test can afford it.

    Args:
        words: without ``plmtrain``.
        smaller: settings by verb, by key; where they count steps, epochs are not counted.
    """
    new = dict(smaller.get(words[0], {}))

    def replaced() -> Iterator[str]:
        for word in words:
            key, equals, _ = word.partition("=")
            if key == "trainer.epochs" and "trainer.steps" in smaller.get(words[0], {}):
                continue
            yield f"{key}={new.pop(key)}" if equals and key in new else word

    return [*replaced(), *(f"{key}={value}" for key, value in new.items())]
