"""Preview what a run's settings will do: token weights, curriculum and reward bounds over training.

The numbers are those of training: `TokenWeighting` weighs made-up rows.
"""
