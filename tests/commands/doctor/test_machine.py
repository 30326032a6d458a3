"""Shared memory, disks and GPUs: where a size begins to matter."""

from pathlib import Path

import pytest
import torch

from rest_verl.commands.doctor.findings import can_start
from rest_verl.commands.doctor.machine import (
    check_gpu,
    check_platform,
    check_ray_disk,
    check_shared_memory,
    disk_level,
    ray_disk_level,
    shared_memory_level,
)
from rest_verl.cpu.resolvers import bucket_megabytes

MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("free", "memory", "level"),
    [
        (63 * MIB, GIB, "failure"),
        (64 * MIB, GIB, "warning"),  # what Docker gives
        (GIB, 3 * GIB, "ok"),  # Ray wants 0.9 GiB
        (2 * GIB, 8 * GIB, "warning"),  # Ray wants 2.4 GiB
        (10**10, 2**50, "ok"),  # Ray's store stays below 10 GB where shared memory is small
    ],
)
def test_shared_memory_has_to_hold_the_weights_bucket_and_should_hold_rays_store(free, memory, level):
    assert shared_memory_level(free, memory) == level


def test_the_least_shared_memory_is_twice_the_bucket_of_the_cpu_preset():
    least = 2 * bucket_megabytes("a model that is not there") * MIB
    assert [shared_memory_level(size, GIB) for size in (least - 1, least)] == ["failure", "warning"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system without any space: Linux has /proc")
def test_a_file_system_without_space_is_a_failure_that_names_the_folder():
    finding = check_shared_memory(Path("/proc"), GIB)
    assert (finding.level, finding.found) == ("failure", "0 MiB of 0 MiB free in /proc")
    assert "--shm-size" in finding.remedy
    assert check_ray_disk(Path("/proc")).level == "failure"


def test_folders_that_are_not_there_are_failures(tmp_path):
    absent = tmp_path / "absent"
    assert check_shared_memory(absent, GIB).found == f"no {absent}"
    assert "RAY_TMPDIR" in check_ray_disk(absent).remedy


def test_a_disk_that_is_nearly_full_stops_rays_spilling():
    sizes = [(200 * MIB, 100 * GIB), (4 * GIB, 100 * GIB), (6 * GIB, 100 * GIB)]
    assert [ray_disk_level(*size) for size in sizes] == ["failure", "warning", "ok"]


def test_checkpoints_want_room():
    assert [disk_level(size) for size in (200 * MIB, 19 * GIB, 21 * GIB)] == ["failure", "warning", "ok"]


def test_a_gpu_that_somebody_uses_is_a_warning():
    assert [check_gpu(0, "H100", free * GIB, 80 * GIB).level for free in (79, 71)] == ["ok", "warning"]


def test_without_a_gpu_a_run_can_start_only_on_the_cpu_stack(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (cpu,) = check_platform(cpu_engine=True)
    assert cpu.level == "ok" and "+platform=cpu" in cpu.found
    assert not can_start(check_platform(cpu_engine=False))


def test_each_gpu_is_listed_with_its_name_and_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"H{number}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (79 * GIB, 80 * GIB))
    platform, *gpus = check_platform(cpu_engine=False)
    assert platform.found.startswith("2 GPUs, torch ")
    assert [(gpu.check, gpu.found) for gpu in gpus] == [
        ("GPU 0", "H0, 79.0 GiB of 80.0 GiB free"),
        ("GPU 1", "H1, 79.0 GiB of 80.0 GiB free"),
    ]
