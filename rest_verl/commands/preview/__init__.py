"""What a run's settings will do, before it runs: token weights, curriculum and reward bounds over training.

The numbers are those of training: `TokenWeighting` weighs rows that are made up for it.
"""
