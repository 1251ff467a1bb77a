"""The order of samples as a closed form, and the loader that fetches and collates them step by step."""
