"""Runs: assembling one from its text or examples, programs and trainer, and its lifecycle (start, resume, end).

The training itself is in ``plmtrain.training``; the verbs that start runs are in ``plmtrain.commands``.
"""
