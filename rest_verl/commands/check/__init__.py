"""Check a verl command without running it: `rest-verl check -- OVERRIDES`.

Composes the config as verl does, lets verl's own `main` validate it, checks what verl would only find after starting
Ray, the model and the engines, and shows the differences from verl's defaults. Needs no GPU, no model and no data.
"""
