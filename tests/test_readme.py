"""Every command of the README is one that plmtrain takes, and every target that it names is in the Makefile."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from plmtrain.commands.kinds import kind_for
from plmtrain.help import VERBS
from plmtrain.settings.compose import compose
from plmtrain.settings.decode import run_settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
LINES = [line for language, block in BLOCKS if not language for line in block.splitlines()]
COMMANDS = [line.removeprefix(".venv/bin/") for line in LINES if "plmtrain" in line]


def test_the_commands_were_found() -> None:
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_valid(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program, verb, *arguments = shlex.split(command, comments=True)
    assert program == "plmtrain"
    assert verb in VERBS
    if VERBS[verb].composes:
        # Of the values that a sweep runs through, the first.
        one = [argument if "[" in argument else argument.split(",")[0] for argument in arguments if argument != "-m"]
        kind = kind_for(verb, one)
        run_settings(compose(one, primary=kind.primary), kind)


def test_verbs_in_the_table_exist_and_all_are_there() -> None:
    assert set(re.findall(r"`plmtrain ([a-z]+)", README)) == set(VERBS)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = {target for words in re.findall(r"`?make ([a-z ]+)[`\n]", README) for target in words.split()}
    assert {"pretrain", "check", "test", "slow"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists()
