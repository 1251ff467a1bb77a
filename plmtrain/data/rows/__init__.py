"""Rows of tokens from arrays: the sources of each kind of row, and the special tokens around and between its texts."""
