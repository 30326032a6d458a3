"""A verl command without a run: `rest-verl check <the same overrides>`.

Composes the config as verl does, lets verl's own `main` validate it, checks what verl would find only once Ray, the
model and the engines are up, and shows what differs from verl's defaults. Needs no GPU, no model and no data.
"""
