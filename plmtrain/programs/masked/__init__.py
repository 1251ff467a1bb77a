"""The bases of all objectives that hide tokens and predict them: how masks are filled, asked about, inspected and counted.

What an objective hides and what its loss is stands in its own module of ``plmtrain.objectives``.
"""
