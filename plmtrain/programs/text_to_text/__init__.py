"""The common parts of objectives that give an encoder one text and its decoder another; which two texts is their own."""
