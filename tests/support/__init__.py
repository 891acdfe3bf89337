"""What tests share. `tests/run` makes `from support.… import …` and `from common.… import …` work."""
