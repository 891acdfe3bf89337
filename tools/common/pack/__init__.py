"""From weights to the bytes that an engine reads."""
