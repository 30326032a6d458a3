"""The list of planted faults is sound without running it: every edit applies once, and every named test exists.

`python tests/planted/run.py` runs it.
"""

import pytest
from catalogue import FAULTS
from planting import ROOT, Planted, planted_text, slow_marks

PATHS = {fault.file: ROOT / "rest_verl" / fault.file for fault in FAULTS}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_applies_once_and_its_test_is_in_the_fast_tier(fault):
    assert planted_text(PATHS[fault.file].read_text(encoding="utf-8"), fault) != ""
    assert slow_marks(fault.test) == set()


def test_names_and_edits_are_distinct():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)


def test_a_fault_that_no_longer_applies_is_an_error():
    fault = Planted("off by one", "core/regions.py", "end - 1", "end", "tests/core/test_regions.py::test_any")
    with pytest.raises(ValueError, match="off by one: the text to replace occurs 0 times"):
        planted_text("stop", fault)
    with pytest.raises(ValueError, match="occurs 2 times"):
        planted_text("end - 1, end - 1", fault)
    assert planted_text("[begin, end - 1]", fault) == "[begin, end]"


def test_a_test_that_is_not_there_or_slow_is_found(tmp_path):
    path = tmp_path / "test_it.py"
    path.write_text("import pytest\n@pytest.mark.release\ndef test_long(): ...\ndef test_short(): ...\n")
    assert slow_marks("test_it.py::test_long", tmp_path) == {"release"}
    assert slow_marks("test_it.py::test_short", tmp_path) == set()
    path.write_text("import pytest\npytestmark = [pytest.mark.e2e]\ndef test_it(): ...\n")
    assert slow_marks("test_it.py::test_it", tmp_path) == {"e2e"}
    for missing in ("test_it.py::test_other", "test_other.py::test_it"):
        with pytest.raises(ValueError, match="there is no such test"):
            slow_marks(missing, tmp_path)
