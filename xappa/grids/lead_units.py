"""Leads of forecasts in their units, and the valid times that they lead to."""

from __future__ import annotations

import numpy as np
import xarray as xr

_SECONDS = {
    "nanosecond": 1e-9, "ns": 1e-9, "microsecond": 1e-6, "us": 1e-6, "millisecond": 1e-3, "ms": 1e-3, "second": 1,
    "sec": 1, "s": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "h": 3600, "day": 86400, "d": 86400,
    "week": 604800, "pentad": 432000,
}  # fmt: skip
CALENDAR = {"month": 1, "season": 3, "year": 12}
"""Units of leads that are no fixed length of time, in months."""
_HOURS = {"forecast_hour", "forecast_hours", "fhour", "fhr", "fcst_hour", "fxx", "lead_hour", "lead_hours", "fh", "tau"}
_DAYS = {"lead_day", "lead_days"}


def infer_lead_units(lead: xr.DataArray) -> tuple[str, str | None]:
    """Units of a lead: of timedelta64 none are needed, of numbers by attribute or name.

    Parameters
    ----------
    lead : DataArray

    Returns
    -------
    units : str
    problem : str or None
        What keeps them from being known.
    """
    if lead.dtype.kind == "m":
        return "timedelta", None
    written = str(lead.attrs.get("units", "")).strip()
    small = written.casefold()
    units = small if small in _SECONDS else small.removesuffix("s")
    if not small:
        name = str(lead.name).casefold()
        units = "hour" if name in _HOURS else "day" if name in _DAYS else ""
    if units in _SECONDS:
        return units, None
    if units in CALENDAR:
        whole = np.asarray(lead.values, float) % 1 == 0
        return units, None if whole.all() else f"lead {lead.name!r} has parts of a {units}; expected whole numbers"
    found = f"units {written!r}" if written else "no units"
    return "", (
        f"lead {lead.name!r} holds numbers with {found}; expected timedelta64, or units such as 'hours': "
        f"set ds[{lead.name!r}].attrs['units'] = 'hours'"
    )


def compute_valid_times(start: xr.DataArray, lead: xr.DataArray, units: str) -> xr.DataArray:
    """Start plus lead, along the dimensions of both.

    Parameters
    ----------
    start : DataArray of datetime64
    lead : DataArray
        timedelta64, or numbers.
    units : str
        From `infer_lead_units`. Months, seasons and years are those of the calendar: the day of the month stays.
    """
    if units == "timedelta":
        return (start + lead).drop_attrs()
    if units in CALENDAR:
        return xr.apply_ufunc(_add_months, start, lead.astype("i8") * CALENDAR[units])
    seconds = np.asarray(lead.values, float) * _SECONDS[units]
    missing = ~np.isfinite(seconds)
    length = np.round(np.where(missing, 0, seconds) * 1e3).astype("timedelta64[ms]")
    return (start + lead.copy(data=np.where(missing, np.timedelta64("NaT", "ms"), length))).drop_attrs()


def _add_months(start: np.ndarray, months: np.ndarray) -> np.ndarray:
    month = start.astype("datetime64[M]")
    within = start - month.astype(start.dtype)
    return (month + months.astype("timedelta64[M]")).astype(start.dtype) + within
