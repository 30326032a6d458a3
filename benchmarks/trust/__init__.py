"""The parts of faults.py, fuzz.py, equivalences.py, versions.py and untouched.py: what each group of checks does."""

import sys
from pathlib import Path

# The checks train the CPU example's kind of model, and run verl as the examples do.
sys.path.append(str(Path(__file__).parents[2] / "examples" / "cpu"))
