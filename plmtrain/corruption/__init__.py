"""Corruptions of rows: pure functions and small classes on arrays of token ids, in NumPy alone."""
