"""One model of time: when a forecast starts, how far ahead it looks, and when its fields hold.

The valid time is that of the start plus the lead. CF calls them ``forecast_reference_time``, ``forecast_period`` and
``time``; archives that set no attributes are recognised by the names that they use. WeatherBench2, earth2studio and
cfgrib call the *start* ``time``, wherever a lead stands beside it.

References
----------
CF Conventions 1.11, appendix of standard names: time, forecast_reference_time, forecast_period.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xappa.grids.lead_units import CALENDAR, compute_valid_times, infer_lead_units
from xappa.grids.validation import find_time_problems, format_time

STARTS = {
    "forecast_reference_time", "init_time", "initial_time", "initialization_time", "initialisation_time", "init",
    "init_date", "reference_time", "reftime", "ref_time", "base_time", "basetime", "run_time", "model_run",
    "start_time", "start_date", "start", "forecast_start_time", "forecast_init_time", "forecast_date", "hindcast_date",
    "initial_time_hours", "issue_time", "analysis_time", "cycle_time", "indexing_time", "time_init", "origin_time",
}  # fmt: skip
"""Names of starts, in small letters."""

LEADS = {
    "forecast_period", "prediction_timedelta", "lead_time", "leadtime", "lead", "leads", "step", "step_timedelta",
    "forecast_lead", "forecast_step", "forecast_lead_time", "forecast_hour", "forecast_hours", "fhour", "fhr",
    "fcst_hour", "fxx", "lead_hour", "lead_hours", "lead_day", "lead_days", "fh", "tau", "timedelta", "horizon",
    "forecast_time",
}  # fmt: skip
"""Names of leads, in small letters."""

VALID = {"valid_time", "validtime", "verification_time", "validity_time", "forecast_valid_time", "time_valid"}
"""Names of valid times, in small letters; ``time`` is one too, unless there is a lead."""

EITHER = {"time", "datetime", "date"}
_DIGITS = re.compile(r"(?<=time)\d+")  # NCL numbers its axes: forecast_time0, initial_time0_hours
START, LEAD, TIME = "forecast_reference_time", "forecast_period", "time"
"""Standard names."""


@dataclass(frozen=True)
class ForecastTimes:
    """Times of the forecasts that a Dataset holds.

    Parameters
    ----------
    valid : DataArray of datetime64
        When fields hold, along the dimensions of starts and leads; without coordinates.
    start : DataArray of datetime64 or None
        When forecasts begin; without coordinates.
    lead : DataArray
        How far ahead they look, as the user writes it; without coordinates.
    names : tuple of (str or None)
        Names of start, lead and valid time in the Dataset; None for those it does not have.
    """

    valid: xr.DataArray
    start: xr.DataArray | None
    lead: xr.DataArray
    names: tuple[str | None, str | None, str | None]

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions along which forecasts lie."""
        parts = [part for part in (self.start, self.lead, self.valid) if part is not None]
        return tuple(dict.fromkeys(str(dim) for part in parts for dim in part.dims))

    def describe(self) -> str:
        """Description of the roles of the dimensions."""
        start, lead, valid = self.names
        begins = f"the start is {start!r}" if start else "the start is the valid time minus the lead"
        ahead = f"the lead {lead!r}" if lead else "the lead is the valid time minus the start"
        holds = f"the valid time {valid!r}" if valid else "the valid time is their sum"
        return f"forecasts: {begins}, {ahead}, {holds}"


def find_forecast_times(ds: xr.Dataset) -> tuple[ForecastTimes | None, list[str]]:
    """Times of the forecasts of a Dataset, and what is ambiguous or not understood of them; never raises.

    Parameters
    ----------
    ds : Dataset

    Returns
    -------
    times : ForecastTimes or None
        None for fields that are no forecasts, or all begin when they hold.
    problems : list of str
        With the names of the candidates.
    """
    leads, starts, valid, either = _list_candidates(ds)
    if not leads:
        return _resolve_without_lead(ds, starts, [*valid, *either]), []
    problems = (
        _describe_ambiguity(ds, "lead", leads)
        + _describe_ambiguity(ds, "start", starts)
        + _describe_ambiguity(ds, "valid time", valid)
    )
    if problems:
        return None, problems
    lead = ds[leads[0]]
    if not (starts or valid or either):
        return None, []
    units, problem = infer_lead_units(lead)
    if problem:
        return None, [problem]
    wrong = [line for name in (*starts, *valid, *either)[:2] for line in _find_non_dates(ds[name])]
    if wrong:
        return None, wrong
    if lead.ndim == 0 and not np.any(_drop_coordinates(lead).values):
        return None, []
    return _resolve_with_lead(ds, lead, units, starts, valid, either)


def _resolve_with_lead(
    ds: xr.Dataset, lead: xr.DataArray, units: str, starts: list[str], valid: list[str], either: list[str]
) -> tuple[ForecastTimes | None, list[str]]:
    """Times where there is a lead: which of the others is the start, which the valid time."""
    lead_name = str(lead.name)
    if not starts:
        role, problem = _decide_time_role(ds, lead, units, valid, either)
        if problem:
            return None, [problem]
        starts, valid = (either[:1], valid) if role == "start" else ([], valid or either[:1])
    if not starts:
        held = ds[valid[0]]
        begins = (
            None if units in CALENDAR else compute_valid_times(_drop_coordinates(held), -_drop_coordinates(lead), units)
        )
        return ForecastTimes(
            _drop_coordinates(held), begins, _drop_coordinates(lead), (None, lead_name, str(held.name))
        ), []
    start = ds[starts[0]]
    summed = compute_valid_times(_drop_coordinates(start), _drop_coordinates(lead), units)
    for name in (*valid, *(name for name in either if name not in starts)):
        if _are_equal_times(_drop_coordinates(ds[name]), summed):
            given = name if set(ds[name].dims) >= set(summed.dims) else None
            return ForecastTimes(
                summed, _drop_coordinates(start), _drop_coordinates(lead), (starts[0], lead_name, given)
            ), []
        if name in valid or not _are_equal_times(_drop_coordinates(ds[name]), _drop_coordinates(start)):
            return None, [_describe_disagreement(ds, starts[0], lead_name, name)]
    return ForecastTimes(summed, _drop_coordinates(start), _drop_coordinates(lead), (starts[0], lead_name, None)), []


def _decide_time_role(
    ds: xr.Dataset, lead: xr.DataArray, units: str, valid: list[str], either: list[str]
) -> tuple[str, str | None]:
    """Whether what is called ``time`` is the start of forecasts or when they hold; a problem if neither is sure."""
    if not either:
        return "valid", None
    time = ds[either[0]]
    if valid:
        return "start", None
    if time.attrs.get("standard_name") == TIME:
        # Tools write this name on whatever is called time, starts among them: it counts where leads lie along it.
        if lead.dims == time.dims or not np.any(_drop_coordinates(lead).values):
            return "valid", None
        return "", (
            f"{time.name!r} has standard_name 'time', which is the valid time in CF, and lies across the lead "
            f"{lead.name!r}: expected a start and a lead, or a valid time. If {time.name!r} is the start, set "
            f"ds[{time.name!r}].attrs['standard_name'] = {START!r}; if it is the valid time, add the start: "
            f"ds.assign_coords({START}=ds[{time.name!r}] - ds[{lead.name!r}])"
        )
    if lead.ndim and lead.dims == time.dims:
        begins = (
            compute_valid_times(_drop_coordinates(time), -_drop_coordinates(lead), units).values
            if units not in CALENDAR
            else time.values
        )
        if len(np.unique(begins)) == 1:
            return "valid", None
        if len(np.unique(time.values)) == 1:
            return "start", None
        return "", (
            f"{time.name!r} and the lead {lead.name!r} lie along one dimension, so that {time.name!r} may be the start "
            f"or the valid time: set ds[{time.name!r}].attrs['standard_name'] to {START!r} or {TIME!r}"
        )
    return "start", None


def _resolve_without_lead(ds: xr.Dataset, starts: list[str], held: list[str]) -> ForecastTimes | None:
    """Forecasts that give their start beside the valid time, and no lead."""
    if len(starts) != 1 or not held:
        return None
    start, valid = ds[starts[0]], ds[held[0]]
    if _find_non_dates(start) or _find_non_dates(valid) or start.variable.equals(valid.variable):
        return None
    lead = (_drop_coordinates(valid) - _drop_coordinates(start)).assign_attrs(standard_name=LEAD)
    return ForecastTimes(_drop_coordinates(valid), _drop_coordinates(start), lead, (starts[0], None, held[0]))


def _list_candidates(ds: xr.Dataset) -> tuple[list[str], list[str], list[str], list[str]]:
    """Names of leads, starts, valid times, and of what may be either of the two; by standard names before others."""
    leads: list[str] = []
    starts: list[str] = []
    valid: list[str] = []
    either: list[str] = []
    for name, coord in ((str(name), coord) for name, coord in ds.coords.items()):
        standard, small = coord.attrs.get("standard_name"), _DIGITS.sub("", name.casefold())
        dates = coord.dtype.kind in "MO" or (small == "init" and coord.dtype.kind in "iu")
        if coord.dtype.kind in "miuf" and (standard == LEAD or (small in LEADS and standard in (None, LEAD))):
            leads.append(name)
        elif dates and standard == START or dates and small in STARTS and standard is None:
            starts.append(name)
        elif dates and small in VALID:
            valid.append(name)
        elif dates and (small in EITHER or standard == TIME):
            # A user-defined name that says that it is the valid time needs no interpretation.
            (either if small in EITHER else valid).append(name)
    if not leads:
        odd = [str(name) for name in ds.dims if name in ds.coords and ds[name].dtype.kind == "m"]
        leads = odd if len(odd) == 1 else []
    return _filter_by_standard_name(ds, leads, LEAD), _filter_by_standard_name(ds, starts, START), valid, either


def _filter_by_standard_name(ds: xr.Dataset, names: list[str], standard: str) -> list[str]:
    """Coordinates that CF's standard name marks, if there are any."""
    return [name for name in names if ds[name].attrs.get("standard_name") == standard] or names


def _describe_ambiguity(ds: xr.Dataset, what: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    if all(ds[name].variable.equals(ds[names[0]].variable) for name in names[1:]):
        return []
    listed = " and ".join(repr(name) for name in names)
    return [f"{listed} may each be the {what} of forecasts; expected one: use ds.drop_vars on the others"]


def _describe_disagreement(ds: xr.Dataset, start: str, lead: str, valid: str) -> str:
    return (
        f"valid time {valid!r} is not start {start!r} plus lead {lead!r}: the first are "
        f"{format_time(_get_first(ds[valid]))} and "
        f"{format_time(_get_first(ds[start]))} plus {_get_first(ds[lead])}; expected times that agree: drop the "
        "one that is wrong"
    )


def _get_first(coord: xr.DataArray) -> Any:
    return coord.values.reshape(-1)[0]


def _are_equal_times(found: xr.DataArray, summed: xr.DataArray) -> bool:
    """Whether times are those of a sum, to the second, wherever both say something."""
    if set(found.dims) - set(summed.dims):
        return False
    apart = abs(found - summed).values
    return bool(np.all(np.isnat(apart) | (apart <= np.timedelta64(1, "s"))))


def _find_non_dates(coord: xr.DataArray) -> list[str]:
    return [] if coord.dtype.kind == "M" else find_time_problems(coord)


def _drop_coordinates(coord: xr.DataArray) -> xr.DataArray:
    return xr.DataArray(coord.values, dims=coord.dims, attrs=coord.attrs)
