"""All faults, each with the test of the fast tier that catches it.

A fault that no longer applies is an error: adapt it to the code, or put another in its place.
"""

from catalogue import acting, around, running, training

FAULTS = (*training.FAULTS, *running.FAULTS, *acting.FAULTS, *around.FAULTS)
