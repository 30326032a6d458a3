"""Token weights: schemes, the weighting of a run, its metrics, and the places where the weights act."""
