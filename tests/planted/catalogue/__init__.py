"""All faults, each with the test of the fast tier that catches it.

A fault that no longer applies is an error: adapt it to the code, or put another in its place.
"""

from catalogue import acting, around, reading, running, scoring, training

GROUPS = (reading, training, scoring, acting, running, around)
FAULTS = tuple(fault for group in GROUPS for fault in group.FAULTS)
