"""The Berkeley Function Calling Leaderboard (BFCL), whole: data, verdicts, stateful tools, scorer.

The model for a benchmark of your own: everything reaches the rest of the package through the registries.
"""
