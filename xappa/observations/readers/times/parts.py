"""Times that come in parts: a date and a time of day, or year, month, day and hour, in columns of their own."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from xappa.errors import ObservationError
from xappa.observations.readers.objects import to_numeric
from xappa.observations.readers.times.clock import parse_times_of_day
from xappa.observations.readers.times.convert import to_times
from xappa.observations.readers.times.numbers import build_dates, build_dates_of_year, parse_calendar_numbers
from xappa.observations.readers.times.text import are_dates

PARTS: dict[str, tuple[str, ...]] = {
    "date": ("date", "date_utc", "utc_date", "obs_date", "yearmoda", "yyyymmdd", "ymd", "dates", "datum"),
    "year": ("year", "yyyy", "yr", "yy"),
    "month": ("month", "mon", "mo", "mm"),
    "day": ("day", "day_of_month", "dy", "dd"),
    "day_of_year": ("day_of_year", "doy", "yday", "jday", "julian_day", "ddd"),
    "hour": ("hour", "hours", "hr", "hh", "time", "hhmm", "hrmn"),
    "minute": ("minute", "minutes", "min", "mn", "mi", "mm"),
    "second": ("second", "seconds", "sec", "ss"),
}
"""Parts of a time, with the spellings (any case) that are recognised; also targets of ``rename=``."""

_HOUR_WORDS = {"hour", "hours", "hr", "hh", "hhmm", "hrmn", "time", "clock", "utc", "gmt", "z"}
_HOUR_WORDS |= {"stunde", "uhrzeit", "heure", "hora", "ora", "uur"}
_BESIDE_HOURS = {"obs", "observation", "observed", "report", "reported", "synop", "synoptic", "nominal", "of", "day"}
_LOCAL = {"local", "lst", "lt", "cet", "cest", "mez", "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt", "jst"}
_HHMM = {"hhmm", "hrmn"}
_ZONES = ("tz", "timezone", "time_zone", "utc_offset")
_UTC = r"(?i)^(?:Z|UTC|GMT|UT|\+?-?0+(?::?00)?(?:\.0)?|(?:UTC|GMT)[+-]0|Etc/UTC)$"
_ZONED = r"(?:Z|UTC|GMT|[T ].*[+-]\d\d:?\d\d)$"


@dataclass(frozen=True)
class TimeColumns:
    """Times of the reports of a table.

    Parameters
    ----------
    times : array of datetime64, shape (n,)
        UTC; NaT where missing.
    used : tuple of str
        Names of the columns that they come from.
    dates : bool, default False
        Whether they are dates alone, so that the time of day is not known.
    assumed : tuple of str
        Sentences on what was assumed.
    """

    times: np.ndarray
    used: tuple[str, ...]
    dates: bool = False
    assumed: tuple[str, ...] = field(default=())


def find_times(
    table: Mapping[str, pd.Series],
    named: Sequence[str],
    others: Sequence[str],
    rename: Mapping[str, str],
    units: str | None = None,
) -> TimeColumns | None:
    """Times of a table, from one column or from parts.

    Parameters
    ----------
    table : mapping of str to Series, shape (n,)
        Columns.
    named : sequence of str
        Those whose name means the time.
    others : sequence of str
        Those that are no quantity and no coordinate, and may be parts of it.
    rename : mapping of str to str
        Meanings of columns that the caller gives.
    units : str, optional
        Units of times that are numbers.

    Returns
    -------
    TimeColumns or None
        None if there is nothing that could be a time.

    Raises
    ------
    ObservationError
        If a part cannot be understood, two columns contradict each other, or only local times are given.
    """
    spelt = {name: rename.get(name, name).casefold() for name in (*named, *others)}
    kinds = {name: "complete" if units else _classify_column(table[name]) for name in named}
    told = [name for name in named if name in rename]
    complete = [name for name in told or named if kinds[name] in ("complete", "numbers")]
    if len(complete) > 1 or len(told) > 1:
        names = complete if len(complete) > 1 else told
        raise ObservationError(
            f"More than one name stands for the same thing: time ({', '.join(names)}). Drop all but one, or give the "
            "one that is meant with rename="
        )
    if complete:
        name = complete[0]
        times = to_times(table[name], name, units)
        return TimeColumns(times, (name,), assumed=_describe_zones(table, spelt, [name]))
    dates = [n for n in named if kinds[n] in ("dates", "midnight")] + _find_part_columns(spelt, "date", others)
    rest = [name for name in (*named, *others) if name not in dates]
    if dates:
        return _combine_dates(table, dates, rest, spelt, kinds, told)
    found = _combine_years(table, rest, spelt)
    if found is None and named:
        column = table[named[0]]
        numeric = pd.api.types.is_numeric_dtype(column)
        ordered = column if numeric else column.dropna().astype(str)  # objects of several types have no order
        low, high = (str(bound) for bound in (ordered.min(), ordered.max()))
        kind = "numbers" if numeric else "times of day"
        raise ObservationError(
            f"Column {named[0]!r} should hold the times of the reports, but holds {kind} ({low} to {high}), and no "
            "column holds dates. Give a column 'date', or 'year', 'month' and 'day', beside hours; or say what numbers "
            f"count, as in units={{{named[0]!r}: 'hours since 2018-11-02'}}"
        )
    return found


def _classify_column(series: pd.Series) -> str:
    """Kind of a column of times: "complete", "midnight" (00 UTC only), "dates", "clock" or other "numbers"."""
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        given = series.dropna()
        return "midnight" if len(given) and (given == given.dt.normalize()).all() else "complete"
    if pd.api.types.is_timedelta64_dtype(series.dtype):
        return "clock"
    if isinstance(series.dtype, pd.PeriodDtype):
        return "complete"
    given = series.dropna()
    if pd.api.types.is_numeric_dtype(series.dtype):
        return _classify_numbers(given.to_numpy(float), given)
    first = given.iloc[0] if len(given) else ""
    if isinstance(first, datetime.time):
        return "clock"
    if isinstance(first, datetime.date) and not isinstance(first, datetime.datetime):
        return "dates"
    # A few tell already what whole times are.
    if _classify_texts(given.head(1000)) == "complete":
        return "complete"
    return _classify_texts(given)


def _classify_texts(given: pd.Series) -> str:
    texts = pd.Series(pd.unique(given), dtype=object).map(str)
    numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.notna().all() and len(texts):
        return _classify_numbers(numbers.to_numpy(float), texts)
    if are_dates(texts):
        return "dates"
    if texts.str.contains(r"^\d{4}-?\d\d-?\d\d[T ]00(?::?00)*(?:\.0+)?(?:Z|\+00:?00)?$").all() and len(texts):
        return "midnight"
    return "clock" if len(texts) and not parse_times_of_day(texts)[1].any() else "complete"


def _classify_numbers(numbers: np.ndarray, given: pd.Series) -> str:
    found = parse_calendar_numbers(numbers)
    if found is not None:
        return "complete" if found[1] else "dates"
    # Numbers of seconds or days since a date are larger, and are refused as times.
    return "clock" if len(given) and not parse_times_of_day(given)[1].any() else "numbers"


def _find_part_columns(spelt: Mapping[str, str], part: str, names: Sequence[str]) -> list[str]:
    """Columns of a part, the first spelling first."""
    order = PARTS[part]
    found = [name for name in names if re.sub(r"^[#\s]+", "", spelt[name]) in order]
    return sorted(found, key=lambda name: order.index(re.sub(r"^[#\s]+", "", spelt[name])))


def _combine_dates(
    table: Mapping[str, pd.Series],
    dates: list[str],
    rest: list[str],
    spelt: Mapping[str, str],
    kinds: Mapping[str, str],
    told: Sequence[str],
) -> TimeColumns:
    dates = [name for name in dates if name in told] or dates
    days = {name: to_times(table[name], name) for name in dates}
    name = dates[0]
    differ = [other for other in dates[1:] if not _are_equal(days[name], days[other])]
    if differ:
        raise ObservationError(
            f"Columns {name!r} and {differ[0]!r} both hold dates, and differ. Drop one, or give the one that is meant "
            f"with rename={{{name!r}: 'time'}}"
        )
    exact = kinds.get(name) == "midnight"
    clock = _combine_clock(table, rest, spelt, exact)
    if clock is None:
        # A time of ISO 8601 without hours is 00 UTC, as pandas writes it; a date, or digits, need not be.
        told_time = "time" in spelt[name] and not pd.api.types.is_numeric_dtype(table[name].dtype)
        return TimeColumns(days[name], tuple(dates), not (exact or told_time), _describe_zones(table, spelt, dates))
    seconds, used = clock
    return TimeColumns(
        _add_seconds(days[name], seconds), (*dates, *used), assumed=_describe_zones(table, spelt, [*dates, *used])
    )


def _are_equal(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a[~np.isnat(a)], b[~np.isnat(a)]))


def _add_seconds(days: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Days and seconds of the day; NaT where either is missing."""
    good = np.isfinite(seconds)
    length = np.where(good, np.round(np.where(good, seconds, 0) * 1e3), 0).astype("timedelta64[ms]")
    return np.where(good, days.astype("datetime64[ms]") + length, np.datetime64("NaT", "ms"))


def _combine_years(table: Mapping[str, pd.Series], rest: list[str], spelt: Mapping[str, str]) -> TimeColumns | None:
    """Times of year, month and day, or of year and day of the year."""
    years = _find_part_columns(spelt, "year", rest)
    if not years:
        return None
    year = years[0]
    months = [n for n in _find_part_columns(spelt, "month", rest) if not (n == "mm" and "MM" in rest)]
    days, numbers = _find_part_columns(spelt, "day", rest), _find_part_columns(spelt, "day_of_year", rest)
    if months and days:
        used = [year, months[0], days[0]]
        found = build_dates(
            _parse_year(table[year], year), _parse_numbers(table[months[0]]), _parse_numbers(table[days[0]])
        )
    elif numbers or days:
        used = [year, (numbers or days)[0]]
        found = build_dates_of_year(_parse_year(table[year], year), _parse_numbers(table[used[1]]))
    else:
        return None
    if np.isnat(found).all():
        raise ObservationError(
            f"Columns {', '.join(map(repr, used))} make no dates: {[table[n].iloc[0] for n in used]}. Expected a year "
            "of four digits, and numbers of the month and day"
        )
    clock = _combine_clock(table, [n for n in rest if n not in used], spelt, False)
    if clock is None:
        return TimeColumns(found, tuple(used), dates=True)
    return TimeColumns(_add_seconds(found, clock[0]), (*used, *clock[1]), assumed=_describe_zones(table, spelt, used))


def _parse_numbers(series: pd.Series) -> np.ndarray:
    return to_numeric(series).to_numpy(float, na_value=np.nan)


def _parse_year(series: pd.Series, name: str) -> np.ndarray:
    years = _parse_numbers(series)
    if np.nanmax(years, initial=0) < 100 and np.isfinite(years).any():
        raise ObservationError(
            f"Column {name!r} has years of two digits ({np.nanmin(years):g} to {np.nanmax(years):g}), and nothing "
            f"tells the century. Give four digits: table[{name!r}] += 2000"
        )
    return years


def _combine_clock(
    table: Mapping[str, pd.Series], rest: list[str], spelt: Mapping[str, str], exact: bool
) -> tuple[np.ndarray, list[str]] | None:
    """Seconds of the day, and the columns that they come from; None if no column tells the time of day.

    Parameters
    ----------
    table, spelt : mapping
    rest : list of str
        Columns that may tell it.
    exact : bool
        Whether only columns that are spelt exactly as a part count, since the dates may be times at 00 UTC.
    """
    hours = _find_part_columns(spelt, "hour", rest)
    hours += [] if exact else [name for name in rest if name not in hours and _is_hour(spelt[name])]
    local = [name for name in rest if _split_words(spelt[name]) & _LOCAL and _is_hour(spelt[name])]
    hours = [name for name in hours if name not in local]
    if not hours and local:
        raise ObservationError(
            f"Column {local[0]!r} holds local times of day. Expected UTC: give a column 'hour' (UTC) or 'time', or say "
            f"that it is UTC with rename={{{local[0]!r}: 'hour'}}"
        )
    if not hours:
        return None
    read = {name: _parse_seconds(table[name], name, spelt[name]) for name in hours}
    name = hours[0]
    seconds, used = read[name], [name]
    for part, size in (("minute", 60.0), ("second", 1.0)):
        more = [n for n in _find_part_columns(spelt, part, rest) if n not in hours]
        if more and _are_hours(table[name]) and _parse_numbers(table[more[0]]).size:
            seconds, used = seconds + _parse_sexagesimal(table[more[0]], more[0]) * size, [*used, more[0]]
    for other in hours[1:]:
        there = np.isfinite(seconds) & np.isfinite(read[other])
        if not np.array_equal(seconds[there], read[other][there]):
            raise ObservationError(
                f"Columns {name!r} and {other!r} both tell the time of day, and differ. Drop one, or give the one that "
                f"is meant with rename={{{name!r}: 'hour'}}"
            )
        used.append(other)
    return seconds, used


def _split_words(name: str) -> set[str]:
    return set(re.split(r"[^a-z]+", name.casefold())) - {""}


def _is_hour(name: str) -> bool:
    """Whether a name says nothing but that it is the time of day of a report."""
    words = _split_words(name)
    return bool(words & _HOUR_WORDS) and words <= _HOUR_WORDS | _BESIDE_HOURS | _LOCAL


def _are_hours(series: pd.Series) -> bool:
    """Whether times of day are whole hours, to which minutes may be added."""
    seconds = parse_times_of_day(series)[0]
    return bool((np.nan_to_num(seconds) % 3600 == 0).all())


def _parse_seconds(series: pd.Series, name: str, spelt: str) -> np.ndarray:
    seconds, unread = parse_times_of_day(series, hours=not (_split_words(spelt) & _HHMM))
    # Some hours that are none are missing; if there are more, the column is something else.
    if unread.any() and unread.sum() * 10 >= len(unread):
        raise ObservationError(
            f"Column {name!r}, beside dates without hours, cannot be understood as times of day: found "
            f"{series[unread].iloc[0]!r}. Expected hours (0 to 24), HHMM, or text such as '06:00'; convert it, or drop "
            "it if it is something else"
        )
    return seconds


def _parse_sexagesimal(series: pd.Series, name: str) -> np.ndarray:
    """Minutes or seconds; missing where they are none. A column that is empty throughout says nothing."""
    numbers = _parse_numbers(series)
    if not np.isfinite(numbers).any():
        return np.zeros(len(numbers))
    return np.where((numbers >= 0) & (numbers < 61), numbers, np.nan)


def _describe_zones(table: Mapping[str, pd.Series], spelt: Mapping[str, str], used: Sequence[str]) -> tuple[str, ...]:
    """Assumption if a column names time zones other than UTC, and its times have none."""
    columns = [name for name in spelt if spelt[name] in _ZONES and name not in used]
    if not columns or all(_has_zone(table[name]) for name in used[:1]):
        return ()
    zones = table[columns[0]].dropna().astype(str).str.strip()
    other = zones[~zones.str.match(_UTC)]
    if not len(other):
        return ()
    return (
        f"Column {columns[0]!r} names a time zone ({other.iloc[0]}), but times are taken for UTC. If they are local, "
        "convert them, for example with pandas.Series.dt.tz_localize; if they are UTC, drop the column",
    )


def _has_zone(series: pd.Series) -> bool:
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return True
    texts = series.dropna().head(1000).map(str)
    return bool(len(texts)) and bool(texts.str.contains(_ZONED).all())
