"""The machine: GPUs, shared memory, disk, memory. Sizes in bytes, shown in GiB or MiB."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from rest_verl.commands.doctor.findings import Finding, Level

GROUP = "machine"
SHARED_MEMORY = Path("/dev/shm")
_MIB, _GIB = 2**20, 2**30

# A CPU run fills the bucket of +platform=cpu (32 MiB for a tiny model, update_weights_bucket_megabytes) in shared
# memory when it first sends weights. Twice that, since vLLM and Ray put their first pages there too. A process that
# gets no page dies with a bus error and no message.
_SHARED_FAILURE = 64 * _MIB
# vLLM maps rings of 240 and 160 MiB per engine, NCCL about 10 MiB per pair of GPUs and channel; Docker's default is
# 64 MiB, and NVIDIA recommends --shm-size=1g.
_SHARED_WARNING = _GIB
# Ray's object store takes 30 % of the memory. If shared memory is smaller than that (at most 10 GB), Ray keeps the
# store in a file on disk and warns that this is slow.
_RAY_SHARE = 0.3
_RAY_CAP = 10**10
# The processes of a CPU run of a tiny model have resident sets of 10 GB in total, shared pages included.
_MEMORY_WARNING = 8 * _GIB
# Ray's session consists of logs and sockets; without room for them none of its processes starts.
_DISK_FAILURE = 256 * _MIB
# A float32 checkpoint of a model of 1.7e9 parameters takes 20 GB with its optimizer.
_DISK_WARNING = 20 * _GIB
# RAY_local_fs_capacity_threshold: above it Ray refuses to spill objects.
_RAY_FULL = 0.95


def check_machine(shared_memory: Path = SHARED_MEMORY) -> Iterator[Finding]:
    """Shared memory, memory and disk.

    Args:
        shared_memory: where it is mounted.
    """
    memory = psutil.virtual_memory()
    yield check_shared_memory(shared_memory, memory.total)
    found = f"{_size(memory.available)} of {_size(memory.total)} free"
    if memory.available < _MEMORY_WARNING:
        remedy = "Ray kills workers when memory runs out: stop other processes, or use a larger machine"
        yield Finding(GROUP, "memory", found, Level.WARNING, remedy)
    else:
        yield Finding(GROUP, "memory", found)
    yield check_ray_disk(Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"))
    yield check_disk(Path.cwd())


def check_shared_memory(folder: Path, memory: int) -> Finding:
    """Whether a shared-memory file system has enough space for vLLM, Ray and the transfer of weights.

    Args:
        folder: where it is mounted.
        memory: total memory of the machine, in bytes.
    """
    if not folder.is_dir():
        remedy = "verl, Ray and vLLM need Linux with /dev/shm: mount a tmpfs there"
        return Finding(GROUP, "shared memory", f"no {folder}", Level.FAILURE, remedy)
    space = shutil.disk_usage(folder)
    found = f"{_size(space.free)} of {_size(space.total)} free in {folder}"
    remedy = f"remove files that earlier runs left in {folder}; in Docker: --shm-size=16g or --ipc=host; in "
    remedy += "Kubernetes: an emptyDir with medium Memory"
    level = shared_memory_level(space.free, memory)
    return Finding(GROUP, "shared memory", found, level, "" if level is Level.OK else remedy)


def shared_memory_level(free: int, memory: int) -> Level:
    """Severity of `free` bytes of free shared memory on a machine with `memory` bytes of memory."""
    if free < _SHARED_FAILURE:
        return Level.FAILURE
    return Level.WARNING if free < max(_SHARED_WARNING, min(_RAY_SHARE * memory, _RAY_CAP)) else Level.OK


def check_ray_disk(folder: Path) -> Finding:
    """Whether Ray can write its session and spill objects below a folder."""
    check = "disk of Ray"
    remedy = (
        f"make room in {folder} ({folder / 'ray'} holds files of earlier runs), or set RAY_TMPDIR to a larger disk: "
    )
    remedy += "Ray spills no objects to a disk that is 95 % full"
    if not folder.is_dir():
        return Finding(GROUP, check, f"no folder {folder}", Level.FAILURE, "create it, or set RAY_TMPDIR")
    space = shutil.disk_usage(folder)
    found = f"{_size(space.free)} of {_size(space.total)} free in {folder}"
    level = ray_disk_level(space.free, space.total)
    return Finding(GROUP, check, found, level, "" if level is Level.OK else remedy)


def ray_disk_level(free: int, total: int) -> Level:
    """Severity for Ray of `free` bytes left on a disk of `total` bytes."""
    if free < _DISK_FAILURE:
        return Level.FAILURE
    return Level.WARNING if free < (1 - _RAY_FULL) * total else Level.OK


def check_disk(folder: Path) -> Finding:
    """Whether a folder has room for checkpoints."""
    space = shutil.disk_usage(folder)
    found = f"{_size(space.free)} of {_size(space.total)} free in {folder}"
    level = disk_level(space.free)
    remedy = "checkpoints go to ./checkpoints: set trainer.default_local_dir to a larger disk, or make room"
    return Finding(GROUP, "disk here", found, level, "" if level is Level.OK else remedy)


def disk_level(free: int) -> Level:
    """Severity for checkpoints of `free` bytes left on a disk."""
    if free < _DISK_FAILURE:
        return Level.FAILURE
    return Level.WARNING if free < _DISK_WARNING else Level.OK


def check_platform(cpu_engine: bool) -> Iterator[Finding]:
    """The GPUs as torch sees them; without GPUs, whether the CPU stack is installed. Imports torch.

    Args:
        cpu_engine: whether vLLM for CPUs is installed.
    """
    import torch

    if torch.cuda.is_available():
        # verl's workers run on the toolkit that torch was built for
        toolkit = torch.version.cuda or torch.version.hip
        yield Finding(GROUP, "platform", f"{torch.cuda.device_count()} GPUs, torch {torch.__version__} for {toolkit}")
        for number in range(torch.cuda.device_count()):
            yield check_gpu(number, torch.cuda.get_device_name(number), *torch.cuda.mem_get_info(number))
    elif cpu_engine:
        yield Finding(GROUP, "platform", f"CPU, {os.cpu_count()} cores: add +platform=cpu to the run's command")
    else:
        built = torch.version.cuda or torch.version.hip or "CPUs only"
        found = f"no GPU that torch {torch.__version__} can use, built for {built}"
        remedy = "does `nvidia-smi` list GPUs, is the driver new enough, is CUDA_VISIBLE_DEVICES empty? On a CPU: "
        yield Finding(GROUP, "platform", found, Level.FAILURE, remedy + "examples/install_cpu.sh, then +platform=cpu")


def check_gpu(number: int, name: str, free: int, total: int) -> Finding:
    """Whether a GPU is free: vLLM refuses to start if other processes leave less than its share."""
    found = f"{name}, {_size(free)} of {_size(total)} free"
    if free < 0.9 * total:
        remedy = "another process uses it, often a worker of a killed run: see `nvidia-smi`"
        return Finding(GROUP, f"GPU {number}", found, Level.WARNING, remedy)
    return Finding(GROUP, f"GPU {number}", found)


def _size(number: int) -> str:
    return f"{number / _GIB:.1f} GiB" if number >= _GIB else f"{number / _MIB:.0f} MiB"
