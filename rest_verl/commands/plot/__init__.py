"""`rest-verl plot`: what training did, drawn from verl's own logs."""
