"""Times that are numbers: calendar forms (2018110212), and advice on what other numbers may count."""

from __future__ import annotations

import numpy as np

YEARS = (1850, 2100)
"""Years that a calendar form may have."""

CODES = tuple(float("9" * digits) * sign for digits in range(1, 15) for sign in (-1, 1))
"""Numbers that stand for a missing time; no date has nines only."""

_DIGITS = {7: "YYYYDDD", 8: "YYYYMMDD", 10: "YYYYMMDDHH", 12: "YYYYMMDDHHMM", 14: "YYYYMMDDHHMMSS"}
_COUNTS = (
    "seconds since 1970-01-01",
    "milliseconds since 1970-01-01",
    "microseconds since 1970-01-01",
    "nanoseconds since 1970-01-01",
    "days since 1970-01-01",
    "days since 1950-01-01",
    "days since 1900-01-01",
    "days since 1899-12-30",
    "days since 1858-11-17",
    "hours since 1970-01-01",
    "hours since 1900-01-01",
    "minutes since 1970-01-01",
)
_SECONDS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
_SECONDS |= {"minutes": 60.0, "hours": 3600.0, "days": 86400.0}
_EARLIEST = np.datetime64("1940-01-01")


def parse_calendar_numbers(numbers: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """Times of numbers that are dates in digits.

    Parameters
    ----------
    numbers : array of numbers, shape (n,)
        All with as many digits: YYYYMMDD (a fraction is one of the day), YYYYMMDDHH, YYYYMMDDHHMM, YYYYMMDDHHMMSS, or
        the day of the year, YYYYDDD. Not finite: missing.

    Returns
    -------
    times : array of datetime64[s], shape (n,)
        24 hours are the next day, 00 UTC.
    with_hours : bool
        False for dates alone.

    None if they are anything else.
    """
    values = np.asarray(numbers, float)
    given = np.isfinite(values) & ~np.isin(values, CODES)
    whole = np.floor(values[given])
    fraction = values[given] - whole
    if not len(whole) or (whole <= 0).any():
        return None
    digits = set(np.floor(np.log10(whole)).astype(int).tolist())
    width = digits.pop() + 1
    if digits or width not in _DIGITS or (width != 8 and fraction.any()):
        return None
    found = _parse_digits(whole.astype("int64"), width)
    if found is None:
        return None
    times = np.full(values.shape, np.datetime64("NaT", "s"))
    times[given] = found + np.round(fraction * 86400).astype("timedelta64[s]")
    return times, width > 8 or bool(fraction.any())


def _parse_digits(whole: np.ndarray, width: int) -> np.ndarray | None:
    date, clock = np.divmod(whole, 10 ** max(width - 8, 0))
    if width == 7:
        year, number = np.divmod(whole, 1000)
        days = build_dates_of_year(year, number)
    else:
        days = build_dates(date // 10000, date // 100 % 100, date % 100)
    seconds = parse_clock_numbers(clock * 10 ** max(14 - max(width, 8), 0))
    if np.isnat(days).any() or np.isnan(seconds).any():
        return None
    return days.astype("datetime64[s]") + seconds.astype("timedelta64[s]")


def build_dates(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Days (datetime64[D]) of the parts of a date; NaT where there is no such day, or a part is missing."""
    parts = [np.asarray(part, float) for part in (year, month, day)]
    there = np.logical_and.reduce([np.isfinite(p) & (p == np.floor(np.nan_to_num(p))) for p in parts])
    y, m, d = (np.where(there, part, 1).astype("int64") for part in parts)
    there &= (y >= YEARS[0]) & (y <= YEARS[1]) & (m >= 1) & (m <= 12) & (d >= 1)
    months = np.where(there, (y - 1970) * 12 + m - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(there, d - 1, 0).astype("timedelta64[D]")
    return np.where(there & (days.astype("datetime64[M]") == months), days, np.datetime64("NaT", "D"))


def build_dates_of_year(year: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Days (datetime64[D]) by their number in the year, from 1; NaT where there is none."""
    first = build_dates(year, np.ones_like(year), np.ones_like(year))
    n = np.asarray(number, float)
    there = ~np.isnat(first) & (n >= 1) & (n <= 366) & (n == np.floor(np.nan_to_num(n)))
    days = first + np.where(there, n - 1, 0).astype("timedelta64[D]")
    return np.where(there & (days.astype("datetime64[Y]") == first.astype("datetime64[Y]")), days, np.datetime64("NaT"))


def parse_clock_numbers(hhmmss: np.ndarray) -> np.ndarray:
    """Seconds of the day of numbers HHMMSS, up to 240000; NaN where there is no such time."""
    number = np.asarray(hhmmss, float)
    hours, minutes, seconds = number // 10000, number // 100 % 100, number % 100
    # A second of 60 is a leap second.
    right = (number >= 0) & (minutes < 60) & (seconds < 61) & ((hours < 24) | (number == 240000))
    return np.where(right, hours * 3600 + minutes * 60 + seconds, np.nan)


def suggest_units(numbers: np.ndarray, name: str) -> str:
    """What numbers that are no calendar form may count, and how to say so."""
    values = np.asarray(numbers, float)
    values = values[np.isfinite(values) & ~np.isin(values, CODES)]
    if not len(values):
        return "Expected times as datetime64, ISO 8601 text or YYYYMMDDHH"
    dates = [number for number in values[:1000] if parse_calendar_numbers(np.array([number])) is not None]
    if 2 * len(dates) > min(len(values), 1000):
        widths = sorted({_DIGITS[len(str(int(number)))] for number in dates})
        wrong = next(
            (f"{number:.15g}" for number in values if parse_calendar_numbers(np.array([number])) is None), None
        )
        found = f"{wrong} is no date" if wrong else "their number of digits differs"
        return f"They look like dates in digits ({', '.join(widths)}), but {found}. Correct it, or leave it empty"
    fits = [text for units in _COUNTS if (text := _suggest_unit(values.min(), values.max(), units, name))]
    if not fits:
        return (
            f"Say what they count, as in units={{{name!r}: 'seconds since 1970-01-01'}}, or give times as datetime64, "
            "ISO 8601 text or YYYYMMDDHH"
        )
    return f"Say what they count, for example {' or '.join(fits[:3])}"


def _suggest_unit(low: float, high: float, units: str, name: str) -> str | None:
    """How to say `units`, if they make dates of the past of the numbers."""
    word, _, epoch = units.partition(" since ")
    size = _SECONDS[word]
    if not max(abs(low), abs(high)) * size < 1e11:
        return None
    first, last = (np.datetime64(epoch, "s") + np.timedelta64(round(n * size), "s") for n in (low, high))
    # Reports just after an epoch are a sign that it is another.
    if first < max(_EARLIEST, np.datetime64(epoch, "s") + np.timedelta64(5 * 365, "D")) or last > np.datetime64(
        "now"
    ) + np.timedelta64(366, "D"):
        return None
    return f"units={{{name!r}: {units!r}}} ({str(first)[:16]} to {str(last)[:16]})"
