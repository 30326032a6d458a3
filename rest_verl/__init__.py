"""ResT (arXiv 2509.21826) for stock verl: add `+rest=paper` to a verl command, and GRPO becomes ResT.

Importing this package, or anything in `rest_verl.core`, imports neither verl nor Ray nor vLLM.
"""

__version__ = "0.1.0"
