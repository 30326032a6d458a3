"""Token weights: schemes, one run's weighting, its metrics, and where the weights act."""
