"""Write docs/settings.md, the page of all settings: python scripts/write_settings_page.py

The text is that of ``plmtrain list``: comments and values of the YAML files, ranges of the settings classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plmtrain.settings.explained import RUN, Setting, all_settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

_OPENING = """# All settings

Set any of them on the command line, `plmtrain pretrain trainer.steps=2000`, or in a YAML file of your own. `plmtrain list GROUP`
and `plmtrain list KEY` print the same in the terminal, and `plmtrain list GROUP=CHOICE` what one choice sets. The first
default is that of the group's default choice. This page is made from the comments of `conf/` and the settings classes
by `scripts/write_settings_page.py`; a test keeps it true."""


def page() -> str:
    """Return the text of the page."""
    parts = [_OPENING]
    for group, settings in all_settings().items():
        heading = "Settings of a run, without a group" if group == RUN else f"`{group}`"
        rows = "\n".join(_row(setting) for setting in settings)
        parts.append(f"## {heading}\n\n| setting | meaning | values | default |\n|---|---|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _row(setting: Setting) -> str:
    where = f" Only in {', '.join(setting.only_in)}." if setting.only_in else ""
    return f"| {' | '.join(_cells(setting, where))} |"


def _cells(setting: Setting, where: str) -> Iterator[str]:
    yield f"`{setting.key}`"
    for text in (setting.meaning + where, setting.values, setting.default()):
        yield text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
