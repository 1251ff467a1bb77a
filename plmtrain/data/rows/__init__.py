"""Arrays to rows: where each kind of row comes from, and the special tokens around and between its texts."""
