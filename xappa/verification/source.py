"""Fields with their times: a series, or forecasts by start and lead, each as fields along the valid time."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import DatasetError
from xappa.grids.axes import Layout, find_axis
from xappa.grids.forecast_time import ForecastTimes, find_forecast_times
from xappa.grids.valid_time import flatten_valid_time, with_valid_time
from xappa.verification.matching import CanonicalDataset, name_forecast_dim, prepare


@dataclass(frozen=True)
class TimedFields:
    """Fields in canonical form, and when they hold.

    Parameters
    ----------
    prepared : CanonicalDataset
    times : ForecastTimes or None
        None for a series, which lies along ``time``.
    valid, start, lead : array, (N,)
        Of forecasts: valid time, start and lead of each position along `dims`, in C order. Leads are timedelta64, or
        numbers as they stand where they are months of the calendar.
    dims : tuple of str
        Dimensions of the fields along which forecasts lie.
    """

    prepared: CanonicalDataset
    times: ForecastTimes | None = None
    valid: Array | None = None
    start: Array | None = None
    lead: Array | None = None
    dims: tuple[str, ...] = ("time",)

    @property
    def fields(self) -> xr.Dataset:
        """The fields, in canonical form."""
        return self.prepared.fields

    @property
    def layout(self) -> Layout:
        """How they were spelt."""
        return self.prepared.layout

    @staticmethod
    def from_dataset(ds: xr.Dataset, among: Collection[Hashable], whose: str = "") -> TimedFields:
        """Fields of a Dataset; parameters and errors as in `prepare`."""
        times, problems = find_forecast_times(ds)
        if times is None or problems:
            return TimedFields(prepare(ds, among, whose))
        if times.valid.ndim < 2 and set(times.dims) == set(times.valid.dims) and _is_single_series(ds, times):
            series = flatten_valid_time(ds)
            prepared = prepare(series, among, whose)
            valid = prepared.fields["time"].values
            return TimedFields(prepared, times, valid, *_compute_labels(times))
        marked, _ = with_valid_time(ds, times)
        prepared = prepare(marked, among, whose, times.dims)
        whole = _broadcast(times.valid, times).values.ravel()
        return TimedFields(
            prepared, times, whole, *_compute_labels(times), tuple(map(name_forecast_dim, range(len(times.dims))))
        )

    @property
    def valid_times(self) -> Array:
        """Every time for which fields hold, once."""
        values = self.fields["time"].values if self.valid is None else self.valid
        return np.unique(values[~np.isnat(values)])

    @property
    def overlapping(self) -> bool:
        """Whether several fields hold for one time."""
        return self.valid is not None and len(self.valid_times) < int((~np.isnat(self.valid)).sum())

    @property
    def keeps_lead(self) -> bool:
        """Whether scores are by lead unless asked otherwise.

        Forecasts in which every valid time occurs once, and that bring their valid time, are one series of fields.
        """
        if self.times is None or self.lead is None or len(set(self.lead.tolist())) < 2:
            return False
        return self.overlapping or self.times.names[2] is None

    def to_series(self, whose: str = "The Dataset") -> xr.Dataset:
        """All fields in the order of their valid time.

        Raises
        ------
        DatasetError
            If several hold for one time.
        """
        if self.valid is None:
            return self.fields
        if self.overlapping:
            raise DatasetError(
                f"{whose} holds forecasts of which several hold for the same time; expected each time once: select "
                "one step or one start with ds.isel"
            )
        return self.select(np.arange(len(self.valid)))

    def select(self, rows: Array) -> xr.Dataset:
        """Fields of some positions along ``time``, in the order of their valid time; those without one are left out."""
        if self.valid is None or self.start is None or self.lead is None:
            return self.fields.isel(time=rows)
        rows = rows[~np.isnat(self.valid[rows])]
        rows = rows[np.argsort(self.valid[rows], kind="stable")]
        fields = _select_positions(self.fields, self.dims, rows)
        coords = {"time": ("time", self.valid[rows]), "init": ("time", self.start[rows])}
        return fields.assign_coords(coords)

    def group_by_lead(self) -> dict[Any, Array]:
        """Positions of each lead, in the order in which they come."""
        return _group_by_label(self.lead)

    def group_by_start(self) -> dict[Any, Array]:
        """Positions of each start, in the order in which they come."""
        return _group_by_label(self.start)

    def format_leads(self) -> xr.DataArray:
        """The leads as the user writes them, along ``lead``, in the order of `group_by_lead`."""
        first = [rows[0] for rows in self.group_by_lead().values()]
        if self.times is None:
            return xr.DataArray(np.zeros(0), dims="lead")
        whole = _broadcast(self.times.lead, self.times).values.ravel()
        attrs = {k: v for k, v in self.times.lead.attrs.items() if k in ("units", "standard_name", "long_name")}
        return xr.DataArray(whole[first], dims="lead", attrs=attrs)


def assign_climatology_times(ds: xr.Dataset, times: Array, whose: str) -> xr.Dataset:
    """A Dataset along time: a climatology at its hours and days of the year, a mean at all of the times.

    Parameters
    ----------
    ds : Dataset
        Returned as it is, if it has a time.
    times : array of datetime64
    whose : str
        What it is called in errors.

    Raises
    ------
    DatasetError
        If a climatology lacks hours or days of the times.
    """
    if find_axis(ds, "time") is not None or find_forecast_times(ds)[0] is not None:
        return ds
    index = {}
    for dim in map(str, ds.dims):
        part = next((part for part, names in CYCLES.items() if dim.casefold() in names), None)
        if part is not None:
            index[dim] = ("time", _find_cycle_positions(ds, dim, part, times, whose))
    chosen = ds.isel({dim: xr.DataArray(rows, dims=d) for dim, (d, rows) in index.items()})
    chosen = chosen.drop_vars([str(name) for name in index], errors="ignore")
    if not index:
        chosen = chosen.expand_dims(time=len(times))
    return chosen.assign_coords(time=("time", times, {"standard_name": "time"}))


CYCLES = {
    "hour": {"hour", "hours", "hour_of_day", "hourofday", "time_of_day"},
    "dayofyear": {"dayofyear", "day_of_year", "doy", "dayofyr", "yearday"},
    "month": {"month", "months", "month_of_year"},
}
"""Parts of a date along which climatologies lie (WeatherBench2: hour, dayofyear), and what dimensions are called."""


def find_climatology_times(ds: xr.Dataset, when: Array) -> Array:
    """Times round some moments at which a climatology has fields: its own hours, or else every sixth.

    Parameters
    ----------
    ds : Dataset
    when : array of datetime64
    """
    names = [name for name in ds.coords if str(name).casefold() in CYCLES["hour"]]
    own = np.atleast_1d(ds[names[0]].values).astype(int) if names else np.arange(0, 24, 6)
    hours = np.arange(when.min().astype("M8[D]"), when.max() + np.timedelta64(1, "D"), np.timedelta64(1, "h"))
    return hours[np.isin(hours.astype("M8[h]").astype(int) % 24, own)].astype("M8[ns]")


def _find_cycle_positions(ds: xr.Dataset, dim: str, part: str, times: Array, whose: str) -> Array:
    """Position along a dimension of a climatology of each time."""
    wanted = np.asarray(getattr(xr.DataArray(times, dims="time").dt, part).values)
    if dim in ds.coords:
        have = np.asarray(ds[dim].values).astype(int)
    elif part == "hour":
        raise DatasetError(f"{whose}: dimension {dim!r} has no values; expected hours: use ds.assign_coords({dim}=...)")
    else:
        have = np.arange(1, ds.sizes[dim] + 1)
    if part == "dayofyear" and 366 not in have:
        wanted = np.minimum(wanted, 365)  # a climatology of 365 days gives the last day of a leap year its own last
    place = {value: k for k, value in enumerate(have.tolist())}
    lacking = sorted({int(value) for value in wanted} - set(place))
    if lacking:
        listed = ", ".join(map(str, lacking[:5]))
        raise DatasetError(f"{whose}: climatology without the {part} {listed}; expected those of the times scored")
    return np.array([place[int(value)] for value in wanted])


def _is_single_series(ds: xr.Dataset, times: ForecastTimes) -> bool:
    """Whether the valid times are an axis of a series: each once, in order."""
    values = np.atleast_1d(times.valid.values)
    return bool(not np.isnat(values).any() and (np.diff(values) > np.timedelta64(0, "s")).all())


def _broadcast(part: xr.DataArray, times: ForecastTimes) -> xr.DataArray:
    known = [p for p in (times.valid, times.start, times.lead) if p is not None]
    sizes = {dim: size for p in known for dim, size in zip(p.dims, p.shape, strict=True)}
    return part.expand_dims({dim: sizes[dim] for dim in times.dims if dim not in part.dims}).transpose(*times.dims)


def _compute_labels(times: ForecastTimes) -> tuple[Array, Array]:
    """Start and lead of every position."""
    lead = _broadcast(times.lead, times).values.ravel()
    if times.start is None:
        return np.full(lead.shape, np.datetime64("NaT", "ns")), lead
    start = _broadcast(times.start, times).values.ravel()
    apart = (_broadcast(times.valid, times).values.ravel() - start).astype("timedelta64[s]")
    fixed = lead.dtype.kind == "m" or len(set(zip(lead.tolist(), apart.tolist(), strict=True))) == len(
        set(lead.tolist())
    )
    return start, apart if fixed else lead


def _group_by_label(labels: Array | None) -> dict[Any, Array]:
    if labels is None:
        return {}
    values, first, index = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    return {values[k]: np.flatnonzero(index == k) for k in order if values[k] == values[k]}


def _select_positions(fields: xr.Dataset, dims: tuple[str, ...], rows: Array) -> xr.Dataset:
    """Fields at flat positions along some dimensions, along ``time``."""
    if dims == ("time",):
        return fields if np.array_equal(rows, np.arange(fields.sizes.get("time", -1))) else fields.isel(time=rows)
    sizes = [fields.sizes[dim] for dim in dims]
    where = dict(zip(dims, np.unravel_index(rows, sizes), strict=True)) if dims else {}
    fixed = {dim: int(index[0]) for dim, index in where.items() if len(index) and (index == index[0]).all()}
    moving = {dim: index for dim, index in where.items() if dim not in fixed}
    fields = fields.isel(fixed)
    if not moving:
        return fields.expand_dims(time=len(rows))
    if len(moving) == 1:
        ((dim, index),) = moving.items()
        whole = np.array_equal(index, np.arange(fields.sizes[dim]))
        return (fields if whole else fields.isel({dim: index})).rename_dims({dim: "time"})
    stacked = fields.stack({"_rows": list(moving)}, create_index=False)
    flat = np.ravel_multi_index(tuple(moving.values()), [fields.sizes[dim] for dim in moving])
    return stacked.isel(_rows=flat).rename_dims(_rows="time")
