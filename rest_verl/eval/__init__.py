"""Benchmarks over an OpenAI-compatible endpoint: asking, scoring and comparing."""
