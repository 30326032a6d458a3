"""The multi-turn tasks of the Berkeley Function Calling Leaderboard (BFCL): see `environment`."""
