"""Multi-turn rollouts with tools and environments, which record the bounds of the policy's turns."""
