"""One column or variable of times, into datetime64 (UTC)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.readers.objects import to_numeric
from xappa.observations.readers.times.numbers import parse_calendar_numbers, suggest_units
from xappa.observations.readers.times.text import parse_times

_REAL_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_FLOAT32 = 1 << 24
"""Whole numbers above are not all there in 32-bit floats."""


def to_times(values: Any, name: str = "time", units: str | None = None) -> np.ndarray:
    """Times as datetime64, in UTC and without zone; NaT where missing or not readable.

    Parameters
    ----------
    values : array-like, shape (n,)
        datetime64, timestamps with or without zone (those without are UTC), periods of less than a day (their begins),
        cftime dates of a real calendar, text (ISO 8601, 24:00 included, dates in digits, names of months, or day and
        month in an order that the column proves), or numbers: dates in digits (YYYYMMDD, YYYYMMDDHH, YYYYMMDDHHMM,
        YYYYMMDDHHMMSS, YYYYDDD).
    name : str, default "time"
        Name of the column, for messages.
    units : str, optional
        Units of numbers, as CF has them: ``"seconds since 1970-01-01"``.

    Raises
    ------
    ObservationError
        If they are numbers that are neither dates in digits nor have units, dates of a calendar that is not the real
        one, dates whose order of day and month is not clear, or text of which nothing can be read.
    """
    series = pd.Series(values if isinstance(values, pd.Series) else np.asarray(values)).reset_index(drop=True)
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _convert_to_utc(series)
    if pd.api.types.is_numeric_dtype(series.dtype):
        return _convert_numbers(series, name, units)
    if isinstance(series.dtype, pd.PeriodDtype):
        return _convert_pandas_periods(series, name)
    given = series.notna()
    calendars = {getattr(value, "calendar", None) for value in series[given].head(1000)} - {None}
    if calendars - set(_REAL_CALENDARS):
        raise ObservationError(
            f"Times of the calendar {', '.join(sorted(map(str, calendars)))} do not exist in the real one, in which "
            "reports are made. Convert them with ds.convert_calendar('standard')"
        )
    numeric = to_numeric(series) if _are_numbers(series[given]) else None
    if numeric is not None and (units is not None or parse_calendar_numbers(_to_floats(numeric)) is None):
        return _convert_numbers(numeric, name, units)
    codes, distinct = pd.factorize(series)
    times = parse_times(pd.Series([_to_text(value) for value in distinct], dtype="string"), name)
    if len(times) and times.isna().all():
        raise ObservationError(
            f"Column {name!r} cannot be read as times: {series[given].iloc[0]!r}. Expected ISO 8601, such as "
            "'2018-11-02 12:00' (UTC); convert others with pandas.to_datetime(…, format=…)"
        )
    return (
        np.append(_convert_to_utc(times), np.datetime64("NaT"))[codes]
        if len(times)
        else np.full(len(series), np.datetime64("NaT", "s"))
    )


def _convert_pandas_periods(series: pd.Series, name: str) -> np.ndarray:
    """Begins of periods of pandas, where these are so short that an instant may be meant."""
    begin, end = series.dt.start_time, series.dt.end_time
    if (end - begin > pd.Timedelta(hours=23)).any():
        raise ObservationError(
            f"Column {name!r} holds periods ({series.dtype}, such as {series.dropna().iloc[0]}), and no instants. For "
            f"values over them give the end of each, table[{name!r}].dt.end_time.dt.ceil('s'), and a column 'period'; "
            f"for instants at their begin, table[{name!r}].dt.to_timestamp()"
        )
    return begin.to_numpy()


def _are_numbers(given: pd.Series) -> bool:
    """Whether texts are numbers, fractions and exponents included."""
    first = given.head(1)
    if not len(first) or pd.to_numeric(first.map(_to_text), errors="coerce").isna().any():
        return False
    return bool(pd.to_numeric(given.map(_to_text), errors="coerce").notna().all())


def _to_floats(series: pd.Series) -> np.ndarray:
    return series.to_numpy(float, na_value=np.nan)


def _to_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    return value.isoformat() if hasattr(value, "isoformat") else str(value).strip()


def _convert_numbers(series: pd.Series, name: str, units: str | None) -> np.ndarray:
    numbers = _to_floats(series)
    if units is not None:
        counted = xr.DataArray(numbers, dims="obs", name=name, attrs={"units": units})
        return decode_cf_times(counted).to_numpy() if " since " in units else _refuse_units(numbers, name, units)
    if series.dtype == np.float32 and np.nanmax(np.abs(numbers), initial=0) > _FLOAT32:
        raise ObservationError(
            f"Column {name!r} holds times as 32-bit floats ({np.nanmin(numbers):.15g} to {np.nanmax(numbers):.15g}), "
            "which round such numbers. Read the source again with this column as integers or 64-bit floats"
        )
    found = parse_calendar_numbers(numbers)
    if found is None and np.isfinite(numbers).any():
        raise ObservationError(
            f"Column {name!r} should hold the times of the reports, but holds numbers ({np.nanmin(numbers):.15g} to "
            f"{np.nanmax(numbers):.15g}). {suggest_units(numbers, name)}"
        )
    return np.full(len(numbers), np.datetime64("NaT", "s")) if found is None else found[0]


def _refuse_units(numbers: np.ndarray, name: str, units: str) -> np.ndarray:
    raise ObservationError(
        f"units={{{name!r}: {units!r}}} does not say since when times are counted. {suggest_units(numbers, name)}"
    )


def decode_cf_times(numbers: xr.DataArray) -> xr.DataArray:
    """Times of a CF variable that was not decoded, by its attributes ``units`` and ``calendar``.

    Raises
    ------
    ObservationError
        If xarray cannot decode them.
    """
    plain = numbers.drop_vars(list(numbers.coords)).to_dataset(name="decoded")
    try:
        return xr.decode_cf(plain)["decoded"].load().rename(numbers.name)
    except Exception as error:  # xarray and cftime raise what they come across
        told = {key: numbers.attrs[key] for key in ("units", "calendar") if key in numbers.attrs}
        raise ObservationError(
            f"{numbers.name} cannot be decoded as times: found {numbers.to_numpy().reshape(-1)[:1]} with {told}. "
            "Expected units such as 'hours since 2018-11-02' (seconds, minutes, hours or days) and a calendar of CF; "
            "correct the attributes, or give times as datetime64"
        ) from error


def _convert_to_utc(series: pd.Series) -> np.ndarray:
    if series.dt.tz is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return series.to_numpy()
