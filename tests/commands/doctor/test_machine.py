"""What doctor says of a machine (shared memory, disks, GPUs: where a size begins to matter) and of a tokenizer (the
example turn of each format, through ones that keep it and ones that do not)."""

from pathlib import Path

import pytest
import torch
from make_tokenizers import t5
from render import RENDERERS

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
from rest_verl.commands.doctor.tokenizer import check_tokenizer, example_turn
from rest_verl.core.tool_calls import Kind
from rest_verl.cpu.resolvers import bucket_megabytes
from rest_verl.formats import get_format

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


@pytest.fixture
def saved(tokenizer, tmp_path):
    """Function that saves the trained tokenizer, with a chat template or without one; gives the folder."""

    def save(template):
        tokenizer.save_pretrained(tmp_path)
        if template:
            (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
        return str(tmp_path)

    return save


@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_the_example_of_each_format_is_a_legal_turn_with_two_calls(format):
    text = example_turn(format).encode()
    wire_format = get_format(format)
    turn = wire_format.parse(text)
    assert len(turn.calls) == 2 and None not in wire_format.read_calls(text, turn)
    assert any(wire_format.is_legal(text, turn, Kind(calls=True, answer=answer)) for answer in (False, True))


@pytest.mark.parametrize("format", sorted(RENDERERS))
def test_each_format_is_tagged_through_a_tokenizer_of_bytes(format):
    (finding,) = check_tokenizer(None, format)
    assert finding.level == "ok" and finding.found.startswith("2 calls in "), finding


def test_the_names_of_the_example_are_counted_byte_by_byte():
    (finding,) = check_tokenizer(None, "hermes")
    assert f"{len('first_tool' + 'second_tool')} of NAME" in finding.found


def test_a_tokenizer_in_a_folder_is_tried(saved):
    folder = saved(template=True)
    (finding,) = check_tokenizer(folder, "rlla")
    assert finding.level == "ok" and finding.found.endswith(folder)


def test_a_tokenizer_without_a_chat_template_is_a_failure(saved):
    (finding,) = check_tokenizer(saved(template=False), "rlla")
    assert finding.level == "failure" and "has no chat template" in finding.found


def test_a_folder_without_a_tokenizer_is_a_failure(tmp_path):
    (finding,) = check_tokenizer(tmp_path, "rlla")
    assert finding.level == "failure" and f"no tokenizer can be read from {tmp_path}" in finding.found


def test_a_tokenizer_that_does_not_know_the_formats_characters_is_a_failure(tmp_path):
    t5().save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (finding,) = check_tokenizer(tmp_path, "deepseek_v4")
    assert finding.level == "failure" and "cannot be recovered" in finding.found
