"""The parts of the studies variance.py, learning.py and overhead.py: what they train, how, and what is said of it."""

import sys
from pathlib import Path

# The studies train the CPU example's kind of model, and run verl as the examples do.
sys.path.append(str(Path(__file__).parents[2] / "examples" / "cpu"))
