"""Devices: which one, one task at a time on it, and when it is full. The only place that names an accelerator."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock

from xappa.errors import OptionError
from xappa.options import get_cache_folder

_LOCKS: dict[str, threading.Lock] = defaultdict(threading.Lock)

OUT_OF_MEMORY: tuple[type[BaseException], ...] = (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError)
"""Exceptions that may mean a lack of memory; `is_out_of_memory` decides."""

KERNELS = 50e6
"""Bytes of a process that come with the first convolutions, products and transforms on a CPU."""


def resolve(device: str | None = None) -> torch.device:
    """The device asked for, or the best there is: CUDA, Apple's MPS, the CPU.

    Raises
    ------
    OptionError
        If torch knows no such device, or does not find it on this machine.
    """
    if device is not None:
        return _find_device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _find_device(device: str) -> torch.device:
    """A device by its name, when it is there."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise OptionError(f"device={device!r}: expected 'cpu', 'cuda', 'cuda:1', 'mps', or None for the best") from None
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(found.type)
    if there is not None and (found.index or 0) >= there:
        raise OptionError(
            f"device={device!r}: torch finds {there} such devices on this machine. Leave device out to take the best "
            "there is, or install a build of PyTorch for it"
        )
    return found


@contextmanager
def lock(device: torch.device) -> Iterator[None]:
    """Hold a device: two tasks at once would share its memory and finish no sooner.

    An accelerator is held against other processes of this machine as well, such as the other workers of a cluster.
    """
    with _LOCKS[str(device)]:
        if device.type == "cpu":
            yield
        else:
            with FileLock(prepare_lock_file(_identify(device))):
                yield


def prepare_lock_file(name: str) -> Path:
    """Path of a lock that processes of this user share; nobody else can foretell or write it.

    The folder is the user's own, and the name has a random part that is drawn once.
    """
    folder = get_cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = folder / "token"
    if not token.exists():
        drawn = folder / f"token.{secrets.token_hex(8)}"
        drawn.write_text(secrets.token_hex(16))
        # A link is made by one process alone; the others take what it made.
        with contextlib.suppress(FileExistsError):
            os.link(drawn, token)
        drawn.unlink()
    return folder / f"{name}-{token.read_text()}.lock"


def _identify(device: torch.device) -> str:
    """A name of the device itself, not of its number among those that this process sees."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_properties(device).uuid)
    return device.type


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "can't allocate memory")
    )


def extract_first_line(error: BaseException) -> str:
    """The first sentence of an error, without advice on how to call the library below."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(".")


def empty_cache(device: torch.device) -> None:
    """Give back what the allocator of a device keeps for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def trim_host_memory() -> None:
    """Give back to the system what was freed in the machine's memory.

    glibc keeps what is freed in pieces, and uses others next time: without this a process grows with each evaluation.
    Another allocator has no such function.
    """
    if (function := _malloc_trim()) is not None:
        function(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None


def synchronise(device: torch.device) -> None:
    """Wait until a device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def get_free_memory(device: torch.device) -> tuple[int, int] | None:
    """Bytes that are free, and in all; None where nobody tells."""
    return torch.cuda.mem_get_info(device) if device.type == "cuda" else None


def estimate_kernel_memory(device: torch.device) -> float:
    """Bytes that a device's code and its scratch space take, beside all tensors; an accelerator counts none of it."""
    return KERNELS if device.type == "cpu" else 0.0


def get_available_memory(device: torch.device) -> float | None:
    """Bytes that can still be used: of the device, or of the machine and what this process may have of it."""
    if (found := get_free_memory(device)) is not None:
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return found[0] + reserved
    limits = [limit for limit in (_read_machine_memory(), _read_cgroup_memory()) if limit is not None]
    return min(limits) if limits else None


def _read_machine_memory() -> float | None:
    """Available memory according to Linux."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * int(found[0][1]) if found else None


def _read_cgroup_memory() -> float | None:
    """Memory left below the limit of a container or batch job."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return None if limit == "max" else max(float(limit) - float(used), 0.0)
