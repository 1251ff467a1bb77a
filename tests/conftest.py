"""What many tests share: small models, rows in memory, and children that die."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

# A busy machine is no bug.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
