"""Times of METAR reports, which give the day of the month, the hour and the minute."""

from __future__ import annotations

import numpy as np

NONE = np.datetime64("NaT", "m")

_FARTHEST = np.timedelta64(10, "D")
"""Largest distance of a report from the date near which it was made; beyond, the month is ambiguous."""
_APART = np.timedelta64(23 * 60, "m")
"""Largest distance of a report from the time of its bulletin: a day or more is an error."""


def resolve_time(time: str, issued: str, near: np.datetime64) -> np.datetime64:
    """Time of a report.

    Parameters
    ----------
    time : str
        Day of the month, hour and minute (``ddhhmm``), or hour and minute alone (``hhmm``) if `issued` tells the day.
    issued : str
        The same of its bulletin, or a full date (``yyyymmddhhmm``); empty if not known.
    near : datetime64
        Date near which bulletin and report were made.

    Returns
    -------
    datetime64[m]
        NaT if there is no such time near that date, or it contradicts that of the bulletin.
    """
    base = parse_full_date(issued) if len(issued) == 12 else resolve_day(issued, near)
    if np.isnat(base):
        return resolve_day(time, near)
    made = _resolve_hour(time, base) if len(time) == 4 else resolve_day(time, base)
    return made if abs(made - base) <= _APART else NONE


def resolve_day(time: str, near: np.datetime64) -> np.datetime64:
    """Day, hour and minute ``ddhhmm`` in the month that brings them nearest to a date; NaT if there are none.

    24 hours are 0 hours of the next day.
    """
    after = _parse_clock(time[2:])
    if len(time) != 6 or not time.isdigit() or after is None or time[:2] == "00":
        return NONE
    months = near.astype("datetime64[M]") + np.arange(-1, 2)
    days = months.astype("datetime64[D]") + (int(time[:2]) - 1)
    times = days[days.astype("datetime64[M]") == months].astype("datetime64[m]") + after
    if not times.size:
        return NONE
    best = times[np.argmin(abs(times - near))]
    return best if abs(best - near) <= _FARTHEST else NONE


def _resolve_hour(time: str, base: np.datetime64) -> np.datetime64:
    """Hour and minute ``hhmm`` on the day that brings them nearest to a time."""
    after = _parse_clock(time)
    if after is None:
        return NONE
    times = (base.astype("datetime64[D]") + np.arange(-1, 2)).astype("datetime64[m]") + after
    return times[np.argmin(abs(times - base))]


def _parse_clock(time: str) -> np.timedelta64 | None:
    """Hour and minute as a length of time; None if there is no such time."""
    if len(time) != 4 or not time.isdigit():
        return None
    hour, minute = int(time[:2]), int(time[2:])
    right = (hour < 24 and minute < 60) or time == "2400"
    return np.timedelta64(60 * hour + minute, "m") if right else None


def parse_full_date(date: str) -> np.datetime64:
    """Time of a full date ``yyyymmddhhmm``; NaT if there is no such day."""
    try:
        return np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:]}", "m")
    except ValueError:
        return NONE
