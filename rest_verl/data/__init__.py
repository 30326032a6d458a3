"""Training and test data as verl reads it: prompts, rows of ToolRL and API-Bank, the split, files, `data check`.

Nothing in this package imports torch, verl or Ray when it is imported, so that data can be made on any machine.
"""
