"""The ``Program`` interface between the trainer and the objectives and tasks.

It contains the types that every program uses (learner, answering, inspection, parts of a mixture) and the base classes that
several objectives share. The objectives and tasks themselves are one layer higher, in ``plmtrain.objectives`` and
``plmtrain.tasks``.
"""
