"""Training and test data in verl's layout: prompts, rows of ToolRL and API-Bank, the split, files, `data check`.

Importing this package imports neither torch nor verl nor Ray, so that data can be made on any machine.
"""
