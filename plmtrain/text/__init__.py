"""Text before it is numbers: readers of files, sentences, tokenizers."""
