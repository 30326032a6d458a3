"""Benchmarks over an OpenAI-compatible endpoint: asking, scoring, and comparing what came of it."""
