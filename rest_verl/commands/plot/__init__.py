"""`rest-verl plot`: draw training curves from verl's own logs."""
