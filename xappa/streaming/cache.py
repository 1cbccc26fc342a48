"""Latents that were sampled are kept, up to a limit, so that the next computation needn't sample again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from xappa.options import get_options


class Sized(Protocol):
    """Anything that says how many bytes it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""


T = TypeVar("T", bound=Sized)


class Cache(Generic[T]):
    """Least recently used values go first once they take more than the option ``latent_cache_bytes``."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The value of `key`, made if it isn't there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            limit = get_options().latent_cache_bytes
            while self._values and sum(v.nbytes for v in self._values.values()) > limit:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
