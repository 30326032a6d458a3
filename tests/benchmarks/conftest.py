import pytest


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """A start whose model has hardly learnt anything."""
    from evidence.loop import prepare_start

    return prepare_start(tmp_path_factory.mktemp("evidence"), steps=2)
