"""Training and test data as verl reads it: the rlla prompt, BFCL and ToolRL rows, splits, parquet files.

Nothing below this package imports torch, verl or ray, so that data can be made on any machine.
"""
