"""The parts of the studies variance.py and learning.py: what they train, how, and how sure the result is."""

import harness  # noqa: F401  (puts the CPU examples on the path)
