"""The benchmark: who runs, on which models, in which order, and what that says."""
