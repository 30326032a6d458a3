"""verl's replay buffer with short waits, for steps of seconds.

In a step verl waits until all trajectories are there, and looks every two seconds: with a tiny model that is much of
the step. verl's own setting for samplers brings this one in (verl_run.QUICK_POLLS). It is for the synchronous trainer
without filtering of groups.
"""

from typing import Any

from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

POLL_SECONDS = 0.2


class QuickReplayBuffer(ReplayBuffer):
    """verl's own, but for the seconds between two looks."""

    def __init__(self, **settings: Any):
        super().__init__(**settings, poll_interval=POLL_SECONDS)
