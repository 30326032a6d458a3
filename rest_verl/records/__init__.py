"""Records of what training does: per step one Parquet file with a sample of trajectories, token by token."""
