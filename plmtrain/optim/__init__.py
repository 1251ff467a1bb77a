"""Optimisers and schedules: how gradients change weights."""
