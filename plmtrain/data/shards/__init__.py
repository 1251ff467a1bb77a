"""Text that is prepared while it is read, one file (a shard) after another: their order, a bounded cache of those that are read
soon, the process that fills it, and their rows. How one file becomes tokens is in ``plmtrain.data.corpus``."""
