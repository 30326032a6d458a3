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

# What is written into shared memory in full as soon as a CPU run sends its first weights: the bucket of +platform=cpu
# (32 MiB, update_weights_bucket_megabytes). Twice that, for vLLM and Ray put their first pages there too. A process
# that finds no page ends with a bus error and no message.
_SHARED_FAILURE = 64 * _MIB
# vLLM maps rings of 240 and 160 MiB for each engine, NCCL about 10 MiB for each pair of GPUs and channel; Docker gives
# 64 MiB, and NVIDIA asks for --shm-size=1g.
_SHARED_WARNING = _GIB
# Ray's object store takes 30 % of the memory. Where shared memory holds less, up to 10 GB, the store lies in a file on
# disk instead, and Ray warns that this is slow.
_RAY_SHARE = 0.3
_RAY_CAP = 10**10
# The processes of a run of a tiny model on a CPU: resident sets of 10 GB together, with pages that they share.
_MEMORY_WARNING = 8 * _GIB
# Ray's session is logs and sockets; without room for them no process of it comes up.
_DISK_FAILURE = 256 * _MIB
# A checkpoint of a model of 1.7e9 parameters with its optimizer takes 20 GB in float32.
_DISK_WARNING = 20 * _GIB
# RAY_local_fs_capacity_threshold: above it Ray refuses to spill objects.
_RAY_FULL = 0.95


def check_machine(shared_memory: Path = SHARED_MEMORY) -> Iterator[Finding]:
    """Shared memory, memory and disk.

    Args:
        shared_memory: where the system keeps it.
    """
    memory = psutil.virtual_memory()
    yield check_shared_memory(shared_memory, memory.total)
    found = f"{_size(memory.available)} of {_size(memory.total)} free"
    if memory.available < _MEMORY_WARNING:
        remedy = "Ray kills workers as memory runs out: end what else runs here, or take a larger machine"
        yield Finding(GROUP, "memory", found, Level.WARNING, remedy)
    else:
        yield Finding(GROUP, "memory", found)
    yield check_ray_disk(Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"))
    yield check_disk(Path.cwd())


def check_shared_memory(folder: Path, memory: int) -> Finding:
    """Whether the free space of a shared-memory file system does for vLLM, Ray and the transfer of weights.

    Args:
        folder: where it is mounted.
        memory: of the whole machine, in bytes.
    """
    if not folder.is_dir():
        remedy = "verl, Ray and vLLM need Linux with /dev/shm: mount a tmpfs there"
        return Finding(GROUP, "shared memory", f"no {folder}", Level.FAILURE, remedy)
    space = shutil.disk_usage(folder)
    found = f"{_size(space.free)} of {_size(space.total)} free in {folder}"
    remedy = f"remove what ended runs left in {folder}; in Docker: --shm-size=16g or --ipc=host; in Kubernetes: an "
    remedy += "emptyDir with medium Memory"
    level = shared_memory_level(space.free, memory)
    return Finding(GROUP, "shared memory", found, level, "" if level is Level.OK else remedy)


def shared_memory_level(free: int, memory: int) -> Level:
    """How bad it is that so many bytes of shared memory are free, on a machine with so many bytes of memory."""
    if free < _SHARED_FAILURE:
        return Level.FAILURE
    return Level.WARNING if free < max(_SHARED_WARNING, min(_RAY_SHARE * memory, _RAY_CAP)) else Level.OK


def check_ray_disk(folder: Path) -> Finding:
    """Whether Ray can write its session and spill objects below a folder."""
    check = "disk of Ray"
    remedy = (
        f"make room in {folder} ({folder / 'ray'} holds what ended runs left), or set RAY_TMPDIR to a larger disk: "
    )
    remedy += "Ray spills no objects to one that is 95 % full"
    if not folder.is_dir():
        return Finding(GROUP, check, f"no folder {folder}", Level.FAILURE, "create it, or set RAY_TMPDIR")
    space = shutil.disk_usage(folder)
    found = f"{_size(space.free)} of {_size(space.total)} free in {folder}"
    level = ray_disk_level(space.free, space.total)
    return Finding(GROUP, check, found, level, "" if level is Level.OK else remedy)


def ray_disk_level(free: int, total: int) -> Level:
    """How bad it is for Ray that so many bytes of a disk are free."""
    if free < _DISK_FAILURE:
        return Level.FAILURE
    return Level.WARNING if free < (1 - _RAY_FULL) * total else Level.OK


def check_disk(folder: Path) -> Finding:
    """Whether checkpoints have room in a folder."""
    space = shutil.disk_usage(folder)
    found = f"{_size(space.free)} of {_size(space.total)} free in {folder}"
    level = disk_level(space.free)
    remedy = "checkpoints go to ./checkpoints: set trainer.default_local_dir to a larger disk, or make room"
    return Finding(GROUP, "disk here", found, level, "" if level is Level.OK else remedy)


def disk_level(free: int) -> Level:
    """How bad it is for checkpoints that so many bytes of a disk are free."""
    if free < _DISK_FAILURE:
        return Level.FAILURE
    return Level.WARNING if free < _DISK_WARNING else Level.OK


def check_platform(cpu_engine: bool) -> Iterator[Finding]:
    """The GPUs as torch sees them; without any, whether the CPU stack is there. Imports torch.

    Args:
        cpu_engine: whether vLLM for CPUs is installed.
    """
    import torch

    if torch.cuda.is_available():
        # of verl's workers, which run on what torch was built for
        toolkit = torch.version.cuda or torch.version.hip
        yield Finding(GROUP, "platform", f"{torch.cuda.device_count()} GPUs, torch {torch.__version__} for {toolkit}")
        for number in range(torch.cuda.device_count()):
            yield check_gpu(number, torch.cuda.get_device_name(number), *torch.cuda.mem_get_info(number))
    elif cpu_engine:
        yield Finding(GROUP, "platform", f"CPU, {os.cpu_count()} cores: add +platform=cpu to the command of a run")
    else:
        built = torch.version.cuda or torch.version.hip or "CPUs only"
        found = f"no GPU that torch {torch.__version__} can use, built for {built}"
        remedy = "does `nvidia-smi` list them, is the driver new enough, is CUDA_VISIBLE_DEVICES empty? On a CPU: "
        yield Finding(GROUP, "platform", found, Level.FAILURE, remedy + "examples/install_cpu.sh, then +platform=cpu")


def check_gpu(number: int, name: str, free: int, total: int) -> Finding:
    """Whether a GPU is free: vLLM refuses to start on one where others hold more than its share leaves."""
    found = f"{name}, {_size(free)} of {_size(total)} free"
    if free < 0.9 * total:
        remedy = "somebody is on it, often a worker of a run that was killed: see `nvidia-smi`"
        return Finding(GROUP, f"GPU {number}", found, Level.WARNING, remedy)
    return Finding(GROUP, f"GPU {number}", found)


def _size(number: int) -> str:
    return f"{number / _GIB:.1f} GiB" if number >= _GIB else f"{number / _MIB:.0f} MiB"
