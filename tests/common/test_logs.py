"""Warnings of this package are seen in a process of verl's, whose root logger lets only errors through."""

import subprocess
import sys

from tiers import HANG_GUARD

CODE = """
import logging
import verl
from verl.utils.logging_utils import configure_verl_logging  # what verl's task runner calls
from rest_verl.common.logs import logger_of
configure_verl_logging()
logging.getLogger().setLevel(logging.ERROR)
for handler in logging.getLogger().handlers:
    handler.setLevel(logging.ERROR)
logging.getLogger("somebody.else").warning("not seen")
logger_of("rest_verl.records").warning("seen once")
"""


def test_a_warning_passes_a_root_logger_that_is_set_to_errors():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=HANG_GUARD)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("seen once") == 1
    assert "not seen" not in done.stderr
