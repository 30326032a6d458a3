"""Rollouts that record where the policy's turns are."""
