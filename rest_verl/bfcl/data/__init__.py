"""BFCL's questions and right answers as rows for verl."""
