"""Secrets are masked by their look and by their key's name, and what is no secret stays."""

from __future__ import annotations

import json

import pytest

from plmtrain.redaction import MASK, redact, redact_text

# Assembled here, so that scanners of repositories do not take them for real ones.
CANARIES = [
    "hf" + "_AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "sk" + "-proj-Ab12Cd34Ef56Gh78Ij90Kl",
    "sk" + "-ant-api03-Ab12Cd34Ef56Gh78",
    "ghp" + "_0123456789abcdefABCDEF0123456789abcd",
    "github" + "_pat_11ABCDEFG0abcdefghijkl_mnop",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "0123456789abcdef" + "0123456789abcdef01234567",
    "wandb" + "_v1_abcdefghijklmnopqrstuvwxyz",
    "xox" + "b-1234567890-abcdefghij",
]


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("frame", ["{}", "data.files=[{}]", "a {} b", "'{}'", "https://host/x?y={}", "/{}/", "x={},y"])
def test_values_that_look_like_secrets(canary: str, frame: str) -> None:
    assert canary not in redact_text(frame.format(canary))
    assert canary not in json.dumps(redact({"deep": [{"er": frame.format(canary)}]}))


@pytest.mark.parametrize(
    "key", ["password", "hub.token", "wandb_api_key", "API_KEY", "auth_token", "client_secret", "token", "aws_secret_access_key"]
)
def test_values_under_keys_that_name_secrets(key: str) -> None:
    leaf = key.rpartition(".")[2]
    assert redact({"a": {leaf: "hunter22"}}) == {"a": {leaf: MASK}}
    assert redact({leaf: ["hunter22", {"x": "hunter22"}]}) == {leaf: [MASK, {"x": MASK}]}
    for text in (f"{key}=hunter22", f"--{key}=hunter22 more", f'{{"{leaf}": "hunter22"}}', f"{leaf}: hunter22"):
        assert "hunter22" not in redact_text(text)


def test_user_and_password_in_a_url() -> None:
    assert redact_text("https://me:pass%20word@host.org/path?x=a@b") == f"https://{MASK}@host.org/path?x=a@b"
    assert redact_text("https://oauth2tok@host.org") == f"https://{MASK}@host.org"


def test_what_is_no_secret_stays() -> None:
    values = {
        "tokens": 1_000_000,
        "mask_token": "[MASK]",
        "unk_token": "<unk>",
        "random_tokens": "ordinary",
        "token": None,
        "lr": 1e-4,
        "name": "task-classification-of-things",
        "files": ["/data/hf_datasets/x.txt", "https://host/path", "me@example.org"],
        "tokenizer": {"path": "runs/x/tokenizer", "type": "wordpiece"},
        "digest": "ab" * 32,
        "init": f"~/.cache/huggingface/hub/models--org--name/snapshots/{'0123456789abcdef0123' * 2}",
        "task": {"revision": "0123456789abcdef0123" * 2},
        "flag": True,
    }
    assert redact(values) == values
    for line in ("task.revision={}", "  revision: {}", '"revision": "{}"', "revision: '{}'"):
        told = line.format("0123456789abcdef0123" * 2)
        assert redact_text(told) == told
    text = "tokens=100 tokens_per_second=5 token=none loss=7.1 max_tokens=512"
    assert redact_text(text) == text
