"""Mask anything that looks like a secret before it is written where others may read it.

Secrets do not belong into settings, but they get there: a token on a command line, a password in a URL. A value is masked for its
own form or for the name of its key; masking too much only costs a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

_SECRETS = re.compile(
    r"""
      (?<![A-Za-z0-9]) (?:
          hf_[A-Za-z0-9]{16,}                                   # Hugging Face
        | api_org_[A-Za-z0-9]{16,}
        | wandb_v1_[A-Za-z0-9_]{16,}                            # Weights & Biases, since 2025
        | sk-[A-Za-z0-9_-]{16,}                                 # OpenAI, Anthropic and others
        | gh[oprsu]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{16,} | glpat-[A-Za-z0-9_-]{16,}
        | (?:AKIA|ASIA)[A-Z0-9]{16}                             # AWS
        | AIza[A-Za-z0-9_-]{30,}                                # Google
        | xox[abeprs]-[A-Za-z0-9-]{10,}                         # Slack
        | eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+)*             # JSON web tokens
      )
      | (?<![0-9A-Za-z]) (?<!snapshots/) (?<!revision[=:]) (?<!revision:\ ) (?<!revision:\ ["']) (?<!revision":\ ")
            [0-9a-f]{40} (?![0-9A-Za-z])                        # Weights & Biases, before 2025; not hub revisions
      | (?<=://) [^\s/?#]+ (?=@)                                # user and password in a URL
      | (?i: (?<=[Bb]earer\s) [A-Za-z0-9._~+/=-]{8,} )
    """,
    re.VERBOSE,
)
# The last word of a key says what its value is: the words before it are not matched, since a search that begins at each of them
# takes time quadratic in their number. A bare ``token`` is a secret, ``mask_token`` is not.
_WORDS = (
    r"(?<![A-Za-z0-9])"
    r"(?:passwords?|passwd|secrets?|credentials?|authorization|api_?keys?|access_?keys?|secret_?keys?|private_?keys?"
    r"|(?:access|auth|api|hf|hub|hugging_?face|wandb|bearer|session|refresh|secret|github|gitlab)_?tokens?)"
    r"|(?<![A-Za-z0-9_])token"
)
_SECRET_KEY = re.compile(rf"(?:{_WORDS})$", re.IGNORECASE)
_ASSIGNED = re.compile(rf"({_WORDS})(\"?'?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;}}\]\"']+)", re.IGNORECASE)
_COMMIT = re.compile("[0-9a-f]{40}")
"""A revision in full: a run could not be evaluated without it."""
_EMPTY = frozenset({"null", "none", "true", "false", ""})


def redact_text(text: str) -> str:
    """Return a text with everything masked that looks like a secret, ``password=...`` included."""
    return _ASSIGNED.sub(_mask_assigned, _SECRETS.sub(MASK, text))


def _mask_assigned(match: re.Match[str]) -> str:
    value = match[3].strip("\"'")
    return match[0] if value.lower() in _EMPTY or _is_number(value) else f"{match[1]}{match[2]}{MASK}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def redact(value: Any) -> Any:
    """Mask a JSON-like value: strings that look like secrets, and strings under keys that name one."""
    if isinstance(value, Mapping):
        return {key: _redact_under(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value


def _redact_under(key: str, value: Any) -> Any:
    if key.rpartition(".")[2] == "revision" and isinstance(value, str) and _COMMIT.fullmatch(value):
        return value
    if not _SECRET_KEY.search(key):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _redact_under(key, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_under(key, item) for item in value]
    return MASK if isinstance(value, str) and value else value
