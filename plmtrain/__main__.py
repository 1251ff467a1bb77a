"""``python -m plmtrain``, and what torchrun and accelerate launch start."""

from __future__ import annotations

from plmtrain.cli import console

if __name__ == "__main__":
    console()
