"""Helpers shared by all packages here: console, charts, logs, names, plain text."""
