"""Base classes of the objectives that mask tokens and predict them: learner, counts, inspection and the filling of masks.

The masking and the loss of an objective are in its own module of ``plmtrain.objectives``.
"""
