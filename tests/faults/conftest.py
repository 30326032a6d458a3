"""Trajectories on a desk full of tools."""

from desk import call, chat, config_of, play, start

__all__ = ["call", "chat", "config_of", "play", "start"]
