"""The Berkeley Function Calling Leaderboard (BFCL): data, verdicts, stateful tools, scorer.

A template for your own benchmark: the rest of the package uses it only through the registries.
"""
