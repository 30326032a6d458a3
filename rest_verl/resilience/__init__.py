"""Ends runs that would wait forever, and lets them resume."""
