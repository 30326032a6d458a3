"""A CPU platform for verl, which has none of its own."""
