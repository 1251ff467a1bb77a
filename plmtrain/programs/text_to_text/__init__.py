"""What objectives that give an encoder one text and its decoder another have in common; what the two texts are is their own."""
