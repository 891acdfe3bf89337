"""The table of engines, and how an engine is built."""
