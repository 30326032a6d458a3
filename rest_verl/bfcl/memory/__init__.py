"""The memory tasks of the Berkeley Function Calling Leaderboard V4 (BFCL); start with `environment`."""
