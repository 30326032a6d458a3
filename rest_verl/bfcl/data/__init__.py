"""BFCL's questions as rows for verl, with right answers."""
