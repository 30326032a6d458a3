"""What an imitation has come to, in a file: after a kill it continues from there as if nothing had happened."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class State:
    """A model in training.

    Attributes:
        model: trained in place.
        optimizer: its optimizer.
        losses: loss of each step so far, in nats per response token.
    """

    model: Any
    optimizer: torch.optim.AdamW
    losses: list[float] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the state; whoever is killed meanwhile leaves the one before."""
        part = path.with_suffix(".part")
        content = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "losses": self.losses,
        }
        torch.save(content, part)
        os.replace(part, path)

    def load(self, path: Path) -> None:
        """Continue from a saved state."""
        content = torch.load(path, map_location=self.model.device)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.losses = content["losses"]
