"""Rewards for tool use: the formulas in `tool_reward`, `toolrl` and `strict`, verl's reward manager in `manager`."""
