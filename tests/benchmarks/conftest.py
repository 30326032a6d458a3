import pytest
import torch


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """A start whose model has hardly learnt anything."""
    from evidence.loop import prepare_start

    return prepare_start(tmp_path_factory.mktemp("evidence"), steps=2)


@pytest.fixture
def one_thread():
    """Sums in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
