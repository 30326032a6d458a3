"""The rest node of the Hydra config: every key, its default and its range."""
