"""The parts that backbones and heads are built from."""
