"""Scores of a language model as it is, without training: one module for each ``type`` of scoring settings.

The likelihood of texts under any model is in ``likelihood``, the reading of examples and solved examples before a question in
``examples`` and ``shots``, and what all of them return in ``report``.
"""

from __future__ import annotations

import importlib

from plmtrain.scoring.report import Report, Subject
from plmtrain.settings.scoring.base import ScoringSettings

__all__ = ["Report", "Subject", "score"]


def score(settings: ScoringSettings, subject: Subject) -> Report:
    """Score a model.

    Args:
        settings: ``settings.type`` names the module of this package.
        subject: the model.
    """
    report: Report = importlib.import_module(f"{__name__}.{settings.type}").score(settings, subject)
    return report
