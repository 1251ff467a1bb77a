"""A run: what it is made of (its text or its examples, its programs, its trainer) and how it lives (started, resumed, ended).

The training itself is in ``plmtrain.training``; the verbs that start runs are in ``plmtrain.commands``.
"""
