"""Metrics over whole validation sets: functions of counts, predictions and references, without a model.

Losses are not here: a program computes them (``plmtrain.nn.loss``).
"""
