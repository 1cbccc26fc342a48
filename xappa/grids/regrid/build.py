"""Which weights bring one grid to another: by method, made once and kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from xappa.errors import choose
from xappa.grids.regrid.conservative import conservative
from xappa.grids.regrid.curvilinear import nearest_place, patch_bilinear
from xappa.grids.regrid.grid import RECTILINEAR, REDUCED, Grid
from xappa.grids.regrid.interpolation import bilinear, nearest
from xappa.grids.regrid.weights import Weights

KEPT_BYTES = 256e6


def _bilinear(source: Grid, target: Grid, vector: bool) -> Weights:
    if source.kind in (RECTILINEAR, REDUCED):
        return bilinear(source, target, vector)
    return patch_bilinear(source, target)


def _nearest(source: Grid, target: Grid, vector: bool) -> Weights:
    return nearest(source, target) if source.kind == RECTILINEAR else nearest_place(source, target)


def _conservative(source: Grid, target: Grid, vector: bool) -> Weights:
    return conservative(source, target)


METHODS: dict[str, Callable[[Grid, Grid, bool], Weights]] = {
    "bilinear": _bilinear,
    "conservative": _conservative,
    "nearest": _nearest,
}


class WeightsCache:
    """Weights that were made, least recently used first to go once they take more than `limit` bytes."""

    def __init__(self, limit: float = KEPT_BYTES) -> None:
        self.limit = limit
        self._values: OrderedDict[tuple[object, ...], Weights] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[object, ...], make: Callable[[], Weights]) -> Weights:
        """The weights of `key`, made if they aren't there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        made = make()
        with self._lock:
            self._values[key] = made
            while self._values and self.nbytes > self.limit:
                self._values.popitem(last=False)
        return made

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(weights.nbytes for weights in self._values.values())

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()

    def __len__(self) -> int:
        return len(self._values)


KEPT = WeightsCache()


def weights_between(source: Grid, target: Grid, method: str = "bilinear", *, vector: bool = False) -> Weights:
    """Weights from one grid to another, kept for the next time.

    Parameters
    ----------
    source, target : Grid
    method : str, default "bilinear"
        ``"bilinear"``, ``"conservative"`` or ``"nearest"``.
    vector : bool, default False
        Whether they are for components of horizontal vectors.

    Returns
    -------
    Weights

    Raises
    ------
    OptionError
        If there is no such method.
    DatasetError
        If the grids don't allow it.
    """
    make = choose("method", method, METHODS)
    vector = vector and method == "bilinear" and source.kind in (RECTILINEAR, REDUCED)
    key = (source.digest, target.digest, method, vector)
    return KEPT.get(key, lambda: make(source, target, vector).with_attrs(method=method))
