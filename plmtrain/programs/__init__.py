"""What the trainer trains: the ``Program`` protocol and its neighbours.

Here live the types that every program has (learner, answering, inspection, parts of a mixture) and the bases that several
objectives share. The objectives and tasks themselves are one floor higher, in ``plmtrain.objectives`` and ``plmtrain.tasks``.
"""
