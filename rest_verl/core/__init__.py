"""The mathematics of ResT in torch, numpy and Arrow: no verl, Ray or vLLM import anywhere in here.

The way of the data: sampled ids -> bytes (`tokens`) -> calls (`tool_calls`; the formats stand above) ->
regions (`regions`) -> (entropy, progress) (`entropy`, `curriculum`) -> weight per token (`weights`).
"""
