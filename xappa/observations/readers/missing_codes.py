"""Numbers that stand for a missing value (-999.9, 9999, 1e20): which can be no true value of which quantity.

A number of `CODES` is missing, rather than out of range, where what it would be in the units of the vocabulary lies
outside the range of its quantity or coordinate. -99.9 degC is no temperature, -99 m s-1 no component of the wind, but
999.9 hPa is a pressure and -99 a longitude. User-defined quantities have no range: of them, only numbers are
missing that no format uses for anything else (1e15 and more).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from xappa.observations.names import QUANTITIES

RANGES: dict[str, tuple[float, float]] = {
    "latitude": (-90.0, 90.0),
    "longitude": (-360.0, 360.0),
    "level": (0.0, 1100.0),
    "altitude": (-450.0, 9000.0),
    "height": (0.0, 9000.0),
    "depth": (0.0, 12000.0),
    "channel": (0.0, np.inf),
}
"""Values of coordinates, in their units, that are never taken for a code."""

ALWAYS: dict[str, tuple[float, ...]] = {"altitude": (-99.0, -99.9, -99.99)}
"""Codes inside the range: there is land at 99 m below the sea, but no station that reports exactly that."""

# Six digits at most, so that none is taken for the round number after it (99999.999 for 100000).
_NINES = [float(f"{'9' * n}.{'9' * d}") for n in range(2, 7) for d in range(4) if n + d <= 6]
_INTEGERS = [32767.0, 32768.0, 2147483647.0, 2147483648.0, 65535.0, 4294967295.0]
_EIGHTS = [7777.0, 8888.0, 88888.0, 99990.0]
_HUGE = 1e15
_TOLERANCE = 2e-7  # relative; 32-bit floats hold 999.9 to 6e-8
CODES = np.array(sorted({*_NINES, *_INTEGERS, *_EIGHTS}))
"""Magnitudes of numbers that stand for a missing value, beside all from 1e15 on (1e20, 9.96921e36)."""


def are_codes(values: np.ndarray) -> np.ndarray:
    """Where numbers are such as stand for missing values: bool, same shape."""
    size = np.abs(np.asarray(values, float))
    below = np.maximum(np.searchsorted(CODES, size * (1 + _TOLERANCE), side="right") - 1, 0)
    with np.errstate(invalid="ignore"):
        near = np.abs(size - CODES[below]) <= _TOLERANCE * size
    return (near | (size >= _HUGE)) & np.isfinite(size)


def are_missing(given: np.ndarray, values: np.ndarray, name: str, declared: Iterable[float] = ()) -> np.ndarray:
    """Where numbers stand for a missing value of a quantity or coordinate.

    Parameters
    ----------
    given : array of numbers, shape (...,)
        As the source has them.
    values : array of float, shape (...,)
        The same in the units of the vocabulary.
    name : str
        Quantity or coordinate.
    declared : iterable of float, optional
        Codes that the source declares (CF ``_FillValue``, ``missing_value``), whatever the range.

    Returns
    -------
    array of bool, shape (...,)
    """
    given = np.asarray(given, float)
    low, high = _get_valid_range(name)
    with np.errstate(invalid="ignore"):
        missing = are_codes(given) & ~((values >= low) & (values <= high))
    for code in (*declared, *ALWAYS.get(name, ())):
        missing |= np.isclose(given, code, rtol=_TOLERANCE, atol=0.0)
    return missing


def _get_valid_range(name: str) -> tuple[float, float]:
    if name in QUANTITIES:
        return QUANTITIES[name].valid_min, QUANTITIES[name].valid_max
    return RANGES.get(name, (-_HUGE, _HUGE))


def without_codes(given: Any, values: Any, name: str, declared: Iterable[float] = ()) -> tuple[Any, int]:
    """Values with NaN for those that are missing, and how many they are.

    Parameters
    ----------
    given, values, name, declared
        See `are_missing`; NumPy or Dask.

    Returns
    -------
    values : array
        As given where none is missing; Dask where it was.
    count : int
        0 for Dask, of which nothing is computed.
    """
    declared = tuple(declared)
    if hasattr(values, "dask"):
        import dask.array as da

        return da.map_blocks(_mask_values, given, values, name, declared, dtype=values.dtype), 0
    missing = are_missing(given, values, name, declared)
    count = int(missing.sum())
    return (np.where(missing, np.nan, values), count) if count else (values, 0)


def mask_deviation_codes(given: Any, deviations: Any, name: str) -> Any:
    """Deviations of errors with NaN for those that are codes for an unknown one: lazily where they are lazy.

    Parameters
    ----------
    given : array of numbers, shape (...,)
        As the source has them; NumPy or Dask.
    deviations : array of float, shape (...,)
        The same in the units of the vocabulary.
    name : str
        Quantity. A code counts where it is more than a tenth of the quantity's range: no instrument errs so much.
    """
    if hasattr(deviations, "dask"):
        import dask.array as da

        return da.map_blocks(_mask_deviations, given, deviations, name, dtype=deviations.dtype)
    return _mask_deviations(given, deviations, name)


def _mask_deviations(given: np.ndarray, deviations: np.ndarray, name: str) -> np.ndarray:
    low, high = _get_valid_range(name)
    with np.errstate(invalid="ignore"):
        return np.where(are_codes(given) & (np.abs(deviations) > (high - low) / 10), np.nan, deviations)


def _mask_values(given: np.ndarray, values: np.ndarray, name: str, declared: tuple[float, ...]) -> np.ndarray:
    return np.where(are_missing(given, values, name, declared), np.nan, values).astype(values.dtype)


def get_declared_codes(attrs: Mapping[str, Any]) -> tuple[float, ...]:
    """Codes that the attributes of a CF variable declare, where it was not decoded.

    References
    ----------
    CF Conventions 1.11, section 2.5.1.
    """
    codes: list[float] = []
    for key in ("_FillValue", "missing_value"):
        for code in np.atleast_1d(attrs.get(key, [])).tolist():
            try:
                codes.append(float(code))
            except (TypeError, ValueError, OverflowError):
                continue
    return tuple(codes)
