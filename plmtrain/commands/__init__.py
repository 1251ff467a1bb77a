"""The verbs of the command line: one module for each, with a function ``run(arguments)``. A verb never imports another verb."""
