"""Token records: one Parquet file per step with a sample of its trajectories, token by token."""
