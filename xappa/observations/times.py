"""Times of reports, whatever they come as, into datetime64 (UTC)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError

_REAL_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_ZONE = r"[T ].*(?:Z|[+-]\d\d(?::?\d\d)?)$"


def to_times(values: Any, name: str = "time") -> np.ndarray:
    """Times as datetime64, in UTC and without zone; NaT where missing or not readable.

    Parameters
    ----------
    values : array-like, shape (n,)
        datetime64, timestamps with or without zone (those without are UTC), ISO 8601 text, or cftime dates of a real
        calendar.
    name : str, default "time"
        Name of the column, for messages.

    Raises
    ------
    ObservationError
        If they are numbers, dates of a calendar that is not the real one, or text of which nothing can be read.
    """
    series = pd.Series(values if isinstance(values, pd.Series) else np.asarray(values)).reset_index(drop=True)
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _utc(series)
    if pd.api.types.is_numeric_dtype(series.dtype):
        raise ObservationError(
            f"Column {name!r} should hold the times of the reports, but holds numbers ({series.min()} to "
            f"{series.max()}). Convert them, for example with pandas.to_datetime({name}, unit='s')"
        )
    given = series.notna()
    calendars = {getattr(value, "calendar", None) for value in series[given].head(1000)} - {None}
    if calendars - set(_REAL_CALENDARS):
        raise ObservationError(
            f"Times of the calendar {', '.join(sorted(map(str, calendars)))} do not exist in the real one, in which "
            "reports are made. Convert them with ds.convert_calendar('standard')"
        )
    text = series
    if pd.api.types.infer_dtype(series, skipna=True) != "string":
        text = series.map(lambda value: value.isoformat() if hasattr(value, "isoformat") else value, na_action="ignore")
    times = _parsed(text)
    if given.any() and times[given].isna().all():
        raise ObservationError(
            f"Column {name!r} cannot be read as times: {series[given].iloc[0]!r}. Expected ISO 8601, such as "
            "'2018-11-02 12:00' (UTC); convert others with pandas.to_datetime(…, format=…)"
        )
    return _utc(times)


def decoded(numbers: xr.DataArray) -> xr.DataArray:
    """Times of a CF variable that was not decoded, by its attributes ``units`` and ``calendar``.

    Raises
    ------
    ObservationError
        If xarray cannot decode them.
    """
    plain = numbers.drop_vars(list(numbers.coords)).to_dataset(name="decoded")
    try:
        return xr.decode_cf(plain)["decoded"].rename(numbers.name)
    except ValueError as error:
        told = {key: numbers.attrs[key] for key in ("units", "calendar") if key in numbers.attrs}
        raise ObservationError(
            f"{numbers.name} cannot be decoded as times: found {numbers.to_numpy().flat[0]} with {told}. "
            "Expected units such as 'hours since 2018-11-02' (seconds, minutes, hours or days) and a calendar of CF; "
            "correct the attributes, or give times as datetime64"
        ) from error


def _parsed(text: pd.Series) -> pd.Series:
    """Times, in UTC, of ISO 8601 text; NaT where it is none."""
    # Texts with and without zone apart: pandas before 3 reads those without in the zone of the one before them.
    zoned = text.astype("string").str.contains(_ZONE, na=False).to_numpy(bool)
    parts = (text[kind] for kind in (zoned, ~zoned) if kind.any())
    times = [pd.to_datetime(part, utc=True, errors="coerce", format="ISO8601") for part in parts]
    return pd.concat(times).sort_index() if times else pd.to_datetime(text, utc=True)


def _utc(series: pd.Series) -> np.ndarray:
    if series.dt.tz is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return series.to_numpy()
