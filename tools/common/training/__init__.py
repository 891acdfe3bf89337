"""The programs that make a model, and what judges it."""
