"""Devices: which one, and one task at a time on it. The only place that names an accelerator."""

from __future__ import annotations

import threading
from collections import defaultdict

import torch

_LOCKS: dict[str, threading.Lock] = defaultdict(threading.Lock)


def resolve(device: str | None = None) -> torch.device:
    """The device asked for, or the best there is: CUDA, Apple's MPS, the CPU."""
    if device is not None:
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def lock(device: torch.device) -> threading.Lock:
    """The device's lock: two sampling tasks at once would share its memory and finish no sooner."""
    return _LOCKS[str(device)]
