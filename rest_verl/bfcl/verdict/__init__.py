"""The single-turn verdict of the Berkeley Function Calling Leaderboard (BFCL), without its package; see `checker`."""
