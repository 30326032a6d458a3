"""ToolRL's rows and API-Bank's, which are not part of this project: in `shared/data` next to the checkout, if at all.

Tests that read them are skipped, with the reason, where they are not there.
"""

from pathlib import Path

SHARED = Path(__file__).parents[3] / "shared" / "data"
TOOLRL_TEST = SHARED / "rlla_test.parquet"
APIBANK = SHARED / "apibank_level2.json"
