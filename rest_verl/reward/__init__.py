"""Rewards for tool use: the mathematics in `toolrl`, verl's reward manager in `manager`."""
