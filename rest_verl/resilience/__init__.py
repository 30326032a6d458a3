"""What keeps a run from waiting forever, and lets it resume."""
