"""Times that are text: ISO 8601, dates in digits, and dates whose order of day and month the column itself proves."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from xappa.errors import ObservationError
from xappa.observations.readers.times.clock import parse_times_of_day
from xappa.observations.readers.times.numbers import build_dates, parse_calendar_numbers

_ZONE = r"[T ].*(?:Z|[+-]\d\d(?::?\d\d)?)$"
_DATE = r"^(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})(?:(?:[T,_]|\s)+(.+))?$"
_NAMED = r"(?i)^(?=.*\b\d{4}\b).*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_NO_HOURS = r"^(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{7,8})$|(?i:^\d{1,2}[ -][a-z]{3,9}[ -]\d{4}$)"
_WHOLE = r"^\d{4}-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?$"
_ORDERS = {"day, month, year": (2, 1, 0), "month, day, year": (2, 0, 1), "year, month, day": (0, 1, 2)}
_PIVOT = 69  # POSIX: years 69 to 99 are of the twentieth century


def parse_times(texts: pd.Series, name: str) -> pd.Series:
    """Times, in UTC, of texts; NaT where they are none.

    Parameters
    ----------
    texts : Series of str, shape (n,)
    name : str
        Name of the column, for messages.

    Raises
    ------
    ObservationError
        If the order of day and month is not clear from the column.
    """
    plain = texts.astype("string").str.strip()
    if plain.str.match(_WHOLE).all():
        return _parse_separate_zone(plain)
    plain = plain.str.replace(r"(?i)\s*(?:UTC|GMT)$", "Z", regex=True).str.replace(r"\s+Z$", "Z", regex=True)
    plain = plain.str.replace(r"^(\d{4}-\d\d-\d\d)_", r"\1T", regex=True)
    digits = plain.str.extract(r"^(\d{7,14})(?:\.0*)?(?:Z?)$")[0]
    if digits.notna().any() and (digits.notna() | plain.isna()).all():
        found = parse_calendar_numbers(pd.to_numeric(digits).to_numpy(float, na_value=np.nan))
        return _convert_to_utc(
            np.full(len(texts), np.datetime64("NaT", "s")) if found is None else found[0], texts.index
        )
    times = _parse_iso(plain)
    for other in (_parse_ordered_dates, _parse_month_names):
        left = times.isna() & plain.notna()
        if left.any():
            times = times.where(~left, other(plain.where(left), name))
    return times


def are_dates(texts: pd.Series) -> bool:
    """Whether texts are dates without a time of day."""
    given = texts.dropna().astype("string").str.strip()
    return bool(len(given)) and bool(given.str.match(_NO_HOURS).all())


def _parse_iso(plain: pd.Series) -> pd.Series:
    midnight = plain.str.contains(r"[T ]24(?::?00)?(?::?00(?:\.0*)?)?(?:Z|[+-]\d\d:?\d\d)?$", na=False)
    plain = plain.where(~midnight, plain.str.replace(r"([T ])24", r"\g<1>00", regex=True))
    # A year, or a year and a month, are no time; with times of two digits they would be the first of January.
    plain = plain.where(~plain.str.match(r"^\d{1,6}$|^\d{4}-\d{1,2}$", na=False))
    joined = _parse_separate_zone(plain)
    return joined.where(~midnight, joined + pd.Timedelta(days=1))


def _parse_separate_zone(plain: pd.Series) -> pd.Series:
    # Texts with and without zone apart: pandas before 3 reads those without in the zone of the one before them.
    zoned = plain.str.contains(_ZONE, na=False).to_numpy(bool)
    parts = (plain[kind] for kind in (zoned, ~zoned) if kind.any())
    times = [pd.to_datetime(part, utc=True, errors="coerce", format="ISO8601") for part in parts]
    return pd.concat(times).sort_index() if times else pd.to_datetime(plain, utc=True)


def _parse_ordered_dates(plain: pd.Series, name: str) -> pd.Series:
    """Dates with separators and not in the order of ISO 8601, if one order alone makes dates of all."""
    parts = plain.str.extract(_DATE)
    numbers = [pd.to_numeric(parts[i], errors="coerce").to_numpy(float, na_value=np.nan) for i in range(3)]
    widths = [parts[i].str.len().to_numpy(float, na_value=np.nan) for i in range(3)]
    found = {order: _parse_days(numbers, widths, places) for order, places in _ORDERS.items()}
    dates = ~np.logical_and.reduce([np.isnat(days) for days in found.values()])
    whole = {order: days for order, days in found.items() if dates.any() and not np.isnat(days[dates]).any()}
    differ = [a for a, b in itertools.combinations(whole, 2) if not np.array_equal(whole[a][dates], whole[b][dates])]
    if differ or (dates.any() and not whole):
        example = plain[dates].iloc[0]
        orders = " or ".join(whole) if whole else "several orders, as no single one makes dates of all"
        raise ObservationError(
            f"Column {name!r} has dates such as {example!r}, whose order is not clear: {orders}. Expected ISO 8601, "
            f"such as 2018-11-02; convert them, for example with pandas.to_datetime(table[{name!r}], dayfirst=True)"
        )
    days = next(iter(whole.values()), np.full(len(plain), np.datetime64("NaT", "D")))
    rest = parts[3].str.strip()
    zone = rest.str.extract(r"([+-]\d\d:?\d\d)$")[0]
    seconds = parse_times_of_day(rest.str.replace(r"[+-]\d\d:?\d\d$", "", regex=True).astype(object))[0]
    seconds = np.where(rest.isna(), 0.0, seconds) - _parse_offset(zone)
    times = np.where(np.isnan(seconds), np.datetime64("NaT", "s"), days.astype("datetime64[s]"))
    return _convert_to_utc(times + np.nan_to_num(np.round(seconds)).astype("timedelta64[s]"), plain.index)


def _parse_offset(zone: pd.Series) -> np.ndarray:
    """Seconds of ``+01:00``; 0 where there is none."""
    digits = pd.to_numeric(zone.str.replace(":", ""), errors="coerce").fillna(0).to_numpy(float)
    return np.sign(digits) * (np.abs(digits) // 100 * 3600 + np.abs(digits) % 100 * 60)


def _parse_days(numbers: list[np.ndarray], widths: list[np.ndarray], places: tuple[int, int, int]) -> np.ndarray:
    """Days if year, month and day are at these places; NaT where there is no such day."""
    year, month, day = (numbers[place] for place in places)
    wide = widths[places[0]]
    year = np.where(wide == 2, year + np.where(year < _PIVOT, 2000, 1900), np.where(wide == 4, year, np.nan))
    return build_dates(year, month, day)


def _parse_month_names(plain: pd.Series, name: str) -> pd.Series:
    """Dates with the name of a month and a year of four digits."""
    named = plain.where(plain.str.match(_NAMED, na=False))
    return pd.to_datetime(named, utc=True, errors="coerce", format="mixed")


def _convert_to_utc(times: np.ndarray, index: pd.Index) -> pd.Series:
    return pd.Series(times, index=index).dt.tz_localize("UTC")
