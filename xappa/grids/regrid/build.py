"""Regridding weights by method, computed once and cached."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from xappa.errors import choose
from xappa.grids.regrid.conservative import compute_conservative_weights
from xappa.grids.regrid.curvilinear import compute_nearest_place_weights, compute_patch_weights
from xappa.grids.regrid.grid import RECTILINEAR, REDUCED, Grid
from xappa.grids.regrid.interpolation import compute_nearest_weights, compute_row_bilinear_weights
from xappa.grids.regrid.weights import Weights

KEPT_BYTES = 256e6


def _build_bilinear(source: Grid, target: Grid, vector: bool) -> Weights:
    if source.kind in (RECTILINEAR, REDUCED):
        return compute_row_bilinear_weights(source, target, vector)
    return compute_patch_weights(source, target)


def _build_nearest(source: Grid, target: Grid, vector: bool) -> Weights:
    return (
        compute_nearest_weights(source, target)
        if source.kind == RECTILINEAR
        else compute_nearest_place_weights(source, target)
    )


def _build_conservative(source: Grid, target: Grid, vector: bool) -> Weights:
    return compute_conservative_weights(source, target)


METHODS: dict[str, Callable[[Grid, Grid, bool], Weights]] = {
    "bilinear": _build_bilinear,
    "conservative": _build_conservative,
    "nearest": _build_nearest,
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


def get_weights(source: Grid, target: Grid, method: str = "bilinear", *, vector: bool = False) -> Weights:
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
