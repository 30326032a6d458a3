"""verl's platform for machines without an accelerator, which verl does not bring itself."""
