"""``plmtrain completion``: the scripts for tab completion, and their candidates. Imports neither torch nor Hydra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from plmtrain.errors import SettingsError, nearest
from plmtrain.help import VERBS
from plmtrain.settings.composing.folders import GROUPS, OPTIONAL_GROUPS, choices, groups_of, primary_of

# Readline ends words at `=`, so bash only gets the part after it. Candidates include their own space.
_BASH = r"""_plmtrain_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" word IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" completion query "$line" 2>/dev/null))
    word="${line##*[[:space:]]}"
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%%=*}="}")
    fi
}
complete -o nospace -o default -F _plmtrain_complete plmtrain
"""

_ZSH = r"""_plmtrain_complete() {
    local -a offered
    offered=("${(@f)$("${words[1]}" completion query "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    if [[ -n "${offered[1]}" ]]; then
        compadd -Q -S '' -- "${offered[@]}"
    else
        _files
    fi
}
compdef _plmtrain_complete plmtrain
"""

_RUN_ACTIONS = ("diff", "rm", "save", "sweep")
_FOLDERS = ("init", "teacher")
"""Settings that name a run; the shell's own completion finds other folders."""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH}


def _fields(primary: str) -> Mapping[str, list[str]]:
    """Return the possible values of each setting of a kind of run, by its full key, for all models, objectives and tasks."""
    from plmtrain.settings.base import Settings
    from plmtrain.settings.lookup import model_classes, objective_classes, task_classes
    from plmtrain.settings.run import FinetuneSettings, PretrainSettings

    run = FinetuneSettings if primary == "finetune" else PretrainSettings
    variants: dict[str, Mapping[str, type[Settings]]] = {
        "model": model_classes(),
        "objective": objective_classes(),
        "task": task_classes(),
    }
    offered: dict[str, list[str]] = {}

    def walk(settings: type[Settings], prefix: str) -> None:
        for name, info in settings.model_fields.items():
            kind = info.annotation
            if prefix + name in variants:
                for variant in variants[name].values():
                    walk(variant, f"{name}.")
            elif isinstance(kind, type) and issubclass(kind, Settings):
                walk(kind, f"{prefix}{name}.")
            else:
                offered.setdefault(prefix + name, []).extend(settings.names_of(name) or _values(kind))

    walk(run, "")
    return offered


def _values(kind: Any) -> list[str]:
    """Return the possible values of a setting of this type, if they can be enumerated."""
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    return [value for part in get_args(kind) for value in _values(part)]


def _settings(primary: str, word: str, config_dir: str | None) -> Iterable[str]:
    """Return the completions of an override."""
    key, equals, value = word.partition("=")
    groups, fields = groups_of(primary), _fields(primary)
    if not equals:
        if "." in key:
            return [f"{name}=" for name in fields]
        prefixes = {f"{name.split('.')[0]}." for name in fields if "." in name}
        return [*(f"{group}=" for group in groups), *prefixes, *(f"{name}=" for name in fields if "." not in name)]
    # A comma separates the values of a sweep.
    before = value.rpartition(",")[0]
    before = f"{key}={before}," if before else f"{key}="
    if key in groups:
        offered = choices(key, config_dir) + (["null"] if key in OPTIONAL_GROUPS else [])
    else:
        offered = fields.get(key, [])
    return [f"{before}{candidate} " for candidate in offered]


def _runs(beginning: str) -> list[str]:
    """Return the folders of runs that a word may become: those below ``runs/``, or below the folder that the word names."""
    return _folders_with("status.json", beginning, "runs")


def _folders_with(sign: str, beginning: str, usual: str) -> list[str]:
    """Return the folders that a word may become.

    Args:
        sign: what must be in them.
        beginning: of the word.
        usual: the folder above them, unless the word names another one.
    """
    parent = beginning.rpartition("/")[0] or ("/" if beginning.startswith("/") else usual)
    with suppress(OSError):
        # Names with blanks would be several words to a shell.
        return [
            f"{parent}/{place.name} ".replace("//", "/")
            for place in Path(parent).iterdir()
            if (place / sign).exists() and not any(map(str.isspace, place.name))
        ]
    return []


def _files_of_settings(beginning: str) -> list[str]:
    """Return the YAML files that a word may become."""
    parent = beginning.rpartition("/")[0]
    with suppress(OSError):
        names = sorted(file.name for file in Path(parent or ".").glob("*.yaml") if not any(map(str.isspace, file.name)))
        return [f"{parent}/{name} " if parent else f"{name} " for name in names]
    return []


def _started_from(word: str) -> list[str]:
    """Return the completions of a setting that names a run."""
    key, _, value = word.partition("=")
    return [f"{key}={run}" for run in _runs(value)] if key in _FOLDERS else []


def candidates(line: str) -> list[str]:
    """Return the completions of the last word of a command line, sorted; complete words end in a space."""
    words = line.split()
    word = "" if line[-1:].isspace() or not words else words.pop()
    if len(words) < 2:
        offered: Iterable[str] = [f"{verb} " for verb in VERBS]
        return sorted(candidate for candidate in offered if words and candidate.startswith(word))
    verb, last = words[1], words[-1]
    known = VERBS.get(verb)
    if word.startswith("-") and known is not None:
        offered = ["--help ", *(f"{option} " for option in known.options)]
        if known.composes:
            offered += ["--cfg ", "--config-dir ", *(["--multirun "] if verb in ("pretrain", "finetune") else [])]
    elif verb == "list" and last != "--config-dir":
        offered = [f"{group} " for group in (*GROUPS, "matrix")]
    elif verb == "completion":
        offered = [f"{shell} " for shell in SCRIPTS]
    elif known is None or last in ("--config-dir", "-cd", "--file"):
        offered = []  # a folder or a file: the shell's own completion finds these
    elif words[1:] == ["runs", "sweep"]:
        offered = _folders_with("jobs", word, "runs/sweeps")
    elif known.runs:
        offered = _runs(word) if "=" not in word else _started_from(word)
        offered = [*offered, *(f"{action} " for action in _RUN_ACTIONS)] if [verb] == words[1:] == ["runs"] else offered
    elif not known.composes:
        offered = []
    elif last in ("--cfg", "-c"):
        offered = ["job "]
    elif word.partition("=")[0] in _FOLDERS and "=" in word:
        offered = _started_from(word)
    else:
        folders = [after for flag, after in pairwise(words) if flag in ("--config-dir", "-cd")]
        kinds = {primary_of(verb, arguments) for arguments in ((), ("task=",))}  # the arguments of check may name a task later
        offered = [candidate for kind in kinds for candidate in _settings(kind, word, folders[-1] if folders else None)]
        offered += _files_of_settings(word) if "=" not in word else []
    return sorted({candidate for candidate in offered if candidate.startswith(word)})


def run(arguments: list[str]) -> int:
    """Print a shell's script, or the candidates for a line (``query LINE``, which the scripts call)."""
    if len(arguments) == 2 and arguments[0] == "query":
        print("\n".join(candidates(arguments[1])))
        return 0
    if len(arguments) != 1 or arguments[0] not in SCRIPTS:
        shown = " ".join(arguments) or "nothing"
        raise SettingsError(
            f"completion is for one shell, not for '{shown}'", "plmtrain completion SHELL", nearest(shown, SCRIPTS)
        )
    print(SCRIPTS[arguments[0]], end="")
    return 0
