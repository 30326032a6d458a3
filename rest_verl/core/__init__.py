"""The mathematics of ResT in torch, numpy and Arrow: no verl, Ray or vLLM import anywhere in here.

The way of the data: sampled ids -> bytes (`token_bytes`) -> calls (`tool_calls`, `formats`) -> regions (`regions`)
-> (entropy, progress) (`entropy`, `curriculum`) -> weight per token (`weights`).
"""
