"""Latents that were sampled are kept, in memory and then on disk, so that the next computation needn't sample again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

import numpy as np

from xappa.array_files import FileCache
from xappa.options import get_options


class Sized(Protocol):
    """Anything that says how many bytes it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""


T = TypeVar("T", bound=Sized)
Restore = Callable[[Mapping[str, np.ndarray]], T]


class LatentCache(Generic[T]):
    """Values by key; what was used longest ago goes to disk, and from there for good.

    The limits are those of the option ``latent_cache``. What is asked for twice at once is made once.
    """

    def __init__(self) -> None:
        self._values: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def get(self, key: str, make: Callable[[], T], restore: Restore[T] | None = None, most: int | None = None) -> T:
        """The value of `key`, made if it isn't there.

        Parameters
        ----------
        key : str
        make : callable
        restore : callable, optional
            Makes a value of arrays by name; then values that have a method ``stored()``, which gives such arrays, go to
            disk when memory is full.
        most : int, optional
            Values in memory, this one included.
        """
        with self._lock:
            own = self._making.setdefault(key, threading.Lock())
        with own:
            try:
                return self._get_or_make(key, make, restore, most)
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _get_or_make(self, key: str, make: Callable[[], T], restore: Restore[T] | None, most: int | None) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        shelf = _open_disk_cache() if restore is not None else None
        arrays = None if shelf is None else shelf.read(key)
        value = make() if arrays is None or restore is None else restore(arrays)
        for old, dropped in self._store(key, value, most):
            if shelf is not None and hasattr(dropped, "to_arrays"):
                shelf.write(old, dropped.to_arrays())
        return value

    def spill(self, key: str) -> None:
        """Send a value to disk at once, if it is in memory."""
        with self._lock:
            value = self._values.pop(key, None)
        shelf = _open_disk_cache()
        if value is not None and shelf is not None and hasattr(value, "to_arrays"):
            shelf.write(key, value.to_arrays())

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._values

    def _store(self, key: str, value: T, most: int | None) -> list[tuple[str, T]]:
        """Keep a value in memory; returns what had to go."""
        dropped = []
        with self._lock:
            self._values[key] = value
            limit = get_options().latent_cache.memory
            size = sum(v.nbytes for v in self._values.values())
            while self._values and (size > limit or (most is not None and len(self._values) > most)):
                old = self._values.popitem(last=False)
                size -= old[1].nbytes
                dropped.append(old)
        return dropped

    def clear(self) -> None:
        """Forget what is in memory."""
        with self._lock:
            self._values.clear()


def _open_disk_cache() -> FileCache | None:
    options = get_options().latent_cache
    return FileCache(options.place(), options.disk) if options.disk > 0 else None
