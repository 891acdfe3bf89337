"""A model's files: checkpoint, tokenizer, and where they are found."""
