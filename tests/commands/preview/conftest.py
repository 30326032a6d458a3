"""Curves of a few points: each is a batch that is weighed, and two hundred take seconds."""

import pytest


@pytest.fixture(autouse=True)
def _few_points(monkeypatch):
    monkeypatch.setattr("rest_verl.commands.preview.timeline.POINTS", 8)
