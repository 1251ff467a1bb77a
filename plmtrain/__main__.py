"""``python -m plmtrain``, which torchrun and accelerate launch also start."""

from __future__ import annotations

from plmtrain.cli import console

if __name__ == "__main__":
    console()
