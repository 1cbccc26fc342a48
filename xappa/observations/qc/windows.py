"""Checks window by window: what a report is compared with lies in its own window, in whatever chunks reports come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from xappa._typing import Array
from xappa.distinct_rows import find_distinct
from xappa.observations.derive import list_winds
from xappa.observations.flags import flag_attrs, flags_of
from xappa.observations.qc.batch import Check, ReportBatch
from xappa.observations.schema import quantities

KINDS = ("period", "channel")
"""Coordinates that reports must share to be comparable."""

_COORDINATES = ("latitude", "longitude", "altitude", "level")

TIMES = (np.datetime64("1600-01-01", "s"), np.datetime64("2262-01-01", "s"))
"""Between which reports can have been made."""

AT_ONCE = 200_000
"""Reports beyond which windows are not judged together."""


def check_windows(
    obs: xr.Dataset, check: Check, window: np.timedelta64, more: Mapping[str, Array]
) -> tuple[xr.Dataset, Array | None]:
    """Make a check on the reports of each window.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.
    check : callable
        Rejects reports of a `ReportBatch`, in place.
    window : timedelta64
        Length of the windows; their centres are its multiples from 00 UTC, 1 January 1970.
    more : mapping of str to array, (obs,)
        Further columns of the batches: ``station``, and ``group`` and ``tie`` where there are repeats.

    Returns
    -------
    obs : Dataset
        The same with ``<name>_flag`` for every quantity. Coordinates are computed; where a quantity is lazy, so are the
        flags, a chunk a window.
    basis : array of int8, (quantity, obs), or None
        What reports with a time were compared with (`ComparisonBasis`), in the order of the windows; None if lazy.
    """
    names = quantities(obs)
    order, bounds = _sort_into_windows(get_valid_times(obs), window)
    columns = _collect_columns(obs) | dict(more)
    lazy = any(dask.is_dask_collection(obs[name].data) for name in names)
    pairs = list_component_pairs(obs)
    task = dask.delayed(_run_check, pure=True) if lazy else _run_check
    check = dask.delayed(check, pure=True) if lazy else check
    parts: list[Any] = []
    for first, last in _merge_small_windows(bounds, 0 if lazy else AT_ONCE):
        rows = order[bounds[first] : bounds[last]]
        pick: Any = (
            slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 and _is_contiguous(rows) else rows
        )
        number = np.repeat(np.arange(last - first), np.diff(bounds[first : last + 1]))
        own = {name: values[pick] for name, values in columns.items()} | {"window": number}
        part = task(check, own, _collect_values(obs, names, pick), pairs)
        parts.append(da.from_delayed(part, (2, len(names), len(rows)), "int8") if lazy else part)
    dated = order[: bounds[-1]]
    basis = None if lazy else np.concatenate([np.zeros((len(names), 0), "int8"), *(part[1] for part in parts)], axis=1)
    return _set_flags(obs, names, dated, [part[0] for part in parts], lazy), basis


def get_valid_times(obs: xr.Dataset) -> Array:
    """Times of reports; NaT for those outside `TIMES`."""
    return mask_times_outside_range(np.asarray(obs["time"].values))


def mask_times_outside_range(time: Array) -> Array:
    """Times as they are, NaT outside `TIMES`."""
    # In seconds: nanoseconds do not reach so far. Where a time is missing, the comparisons are false.
    if time.size and all(TIMES[0] <= bound.astype("datetime64[s]") < TIMES[1] for bound in (time.min(), time.max())):
        return time
    seconds = time.astype("datetime64[s]")
    return np.where((seconds >= TIMES[0]) & (seconds < TIMES[1]), time, np.datetime64("NaT"))


def _sort_into_windows(time: Array, window: np.timedelta64) -> tuple[Array, Array]:
    """Reports by window, those without a time last, and where each window begins and the last one ends."""
    missing = np.isnat(time)
    length = int(window / np.timedelta64(1, "s"))
    seconds = np.where(missing, 0, time.astype("datetime64[s]").astype(np.int64))
    number = np.where(missing, np.iinfo(np.int64).max, (seconds + length // 2) // length)
    order = np.argsort(number, kind="stable")
    inside = number[order][: len(time) - int(missing.sum())]
    return order, np.concatenate([[0], np.flatnonzero(np.diff(inside)) + 1, [len(inside)]] if len(inside) else [[0]])


def _merge_small_windows(bounds: Array, most: int) -> list[tuple[int, int]]:
    """First and last (not included) of neighbouring windows that have no more than `most` reports, or are one."""
    found, first, windows = [], 0, len(bounds) - 1
    while first < windows:
        last = max(int(np.searchsorted(bounds, bounds[first] + most, side="right")) - 1, first + 1)
        found.append((first, last))
        first = last
    return found


def _is_contiguous(rows: Array) -> bool:
    return bool((np.diff(rows) == 1).all())


def _collect_columns(obs: xr.Dataset) -> dict[str, Array]:
    size = obs.sizes["obs"]
    columns = {
        name: np.asarray(obs[name].values, float) if name in obs.coords else np.broadcast_to(np.nan, size)
        for name in _COORDINATES
    }
    columns["latitude"] = _mask_impossible(columns["latitude"], 90.0)
    columns["longitude"] = _mask_impossible(columns["longitude"], np.inf)
    columns["time"] = np.asarray(obs["time"].values)
    columns["kind"] = encode_kinds(obs)
    return columns | {"source": encode_names(obs, "source")}


def _mask_impossible(values: Array, most: float) -> Array:
    wrong = ~((np.abs(values) <= most) & np.isfinite(values))
    return np.where(wrong, np.nan, values) if wrong.any() else values


def encode_names(obs: xr.Dataset, name: str) -> Array:
    """A number for each station, or source, in the order of their names; -1 for reports without: int (obs,)."""
    if name not in obs.coords:
        return np.broadcast_to(np.int32(-1), obs.sizes["obs"])
    codes, names = _factorize_names(np.asarray(obs[name].values))
    nameless = np.flatnonzero([str(text) == "" for text in names])
    return np.where(codes == nameless[0], np.int32(-1), codes) if len(nameless) else codes


def _factorize_names(values: Array) -> tuple[Array, Array]:
    """Codes of names in their order, and the names; -1 where there is none."""
    if values.dtype.kind != "U":
        codes, names = pd.factorize(values, sort=True)
        return codes.astype(np.int32), names
    # Text of fixed width need not be made Python's.
    first, number = find_distinct(values)
    order = np.argsort(values[first])
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    return place[number], values[first[order]]


def encode_kinds(obs: xr.Dataset) -> Array:
    """Group of reports with the same period and channel: int (obs,), -1 for those that have neither."""
    codes = [pd.factorize(np.asarray(obs[name].values))[0] for name in KINDS if name in obs.coords]
    if not codes:
        return np.broadcast_to(np.int32(-1), obs.sizes["obs"])
    table = pd.DataFrame(np.stack(codes, axis=1))
    return np.where((table < 0).all(axis=1), -1, table.groupby(list(table.columns), sort=False).ngroup())


def _collect_values(obs: xr.Dataset, names: Sequence[str], pick: Any) -> dict[str, list[Any]]:
    numbers = {}
    for name in names:
        error = obs[f"{name}_error"].data[pick] if f"{name}_error" in obs else None
        numbers[name] = [obs[name].data[pick], error, flags_of(obs, name).data[pick]]
    return numbers


def list_component_pairs(obs: xr.Dataset) -> tuple[tuple[str, str], ...]:
    """Quantities that are components of one wind."""
    return tuple(
        dict.fromkeys(wind.components for wind in list_winds(obs) if set(wind.components) <= set(obs.data_vars))
    )


def _run_check(
    check: Check, columns: dict[str, Array], numbers: dict[str, list[Any]], pairs: tuple[tuple[str, str], ...]
) -> Array:
    """Flags of some windows, and what was compared with: (2, quantity, report)."""
    value = {name: np.asarray(column[0], float) for name, column in numbers.items()}
    error = {
        name: np.full(len(value[name]), np.nan) if column[1] is None else np.asarray(column[1], float)
        for name, column in numbers.items()
    }
    flag = {name: np.array(column[2], "int8") for name, column in numbers.items()}
    batch = ReportBatch(**columns, value=value, error=error, flag=flag, vector_pairs=pairs)
    check(batch)
    return np.stack([np.stack(list(flag.values())), np.stack(list(batch.basis.values()))])


def _set_flags(obs: xr.Dataset, names: list[str], dated: Array, parts: list[Any], lazy: bool) -> xr.Dataset:
    if not parts:
        return obs
    joined = da.concatenate(parts, axis=1) if lazy else np.concatenate(parts, axis=1)
    complete = len(dated) == obs.sizes["obs"]
    place = np.empty(len(dated), np.int64)
    place[np.argsort(dated, kind="stable")] = np.arange(len(dated))
    back = np.argsort(dated, kind="stable")
    for i, name in enumerate(names):
        flag = joined[i] if _is_contiguous(dated) else joined[i][back]
        if not complete:
            # Reports without a time are in no window, and were rejected for that already.
            kept = np.sort(dated)
            whole = np.array(flags_of(obs, name).values, "int8")
            flag = (
                _scatter_flags(whole, kept, flag)
                if not lazy
                else da.from_delayed(dask.delayed(_scatter_flags, pure=True)(whole, kept, flag), (len(whole),), "int8")
            )
        standard_name = obs[name].attrs.get("standard_name", name)
        attrs = flag_attrs() | {"standard_name": f"{standard_name} status_flag"}
        obs = obs.assign({f"{name}_flag": ("obs", flag, attrs)})
        related = obs[name].attrs.get("ancillary_variables", "").split()
        if f"{name}_flag" not in related:
            obs[name] = obs[name].assign_attrs(ancillary_variables=" ".join([*related, f"{name}_flag"]))
    return obs


def _scatter_flags(whole: Array, rows: Array, flag: Array) -> Array:
    whole = whole.copy()
    whole[rows] = flag
    return whole
