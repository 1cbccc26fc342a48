"""METAR and SPECI reports in bulletins of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError, OptionError
from xappa.observations.periods import HOUR
from xappa.observations.readers.corrections import flag_superseded
from xappa.observations.readers.metar.bulletins import FORECAST, NIL, MetarReport, read_bulletin_text, split_reports
from xappa.observations.readers.metar.decode import DIRECTION, INSTANT, WIND, ReportValues, decode_report
from xappa.observations.readers.metar.times import parse_full_date, resolve_time
from xappa.observations.readers.station_tables import PLACE
from xappa.observations.schema import build_observations, concat, encode_counts

_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?:[-_T]?([01]\d|2[0-3]))?")
_LIKE_METAR = re.compile(
    r"\b[A-Z][A-Z0-9]{3}\s+\d{6}Z\s|\b(?:METAR|SPECI)\s+(?:COR\s+)?[A-Z][A-Z0-9]{3}\s+(?:\d{6}|\d{4}Z)[\s=]",
    re.IGNORECASE,
)


def read_metar(path: str | Path, stations: pd.DataFrame | None, date: str | None = None) -> xr.Dataset:
    """Reports of a file of METAR bulletins.

    Parameters
    ----------
    path : path
        Text (plain or gzip), with or without WMO headings.
    stations : DataFrame
        Places by ICAO name, from `read_station_table`.
    date : str, optional
        Date (ISO 8601) near which the reports were made, as they only give the day of the month; default: that in the
        file's name, or before each report.

    Returns
    -------
    Dataset
        In the schema, without flags: temperature and dew point (in tenths where the remarks give them), wind,
        altimeter setting, and, where the remarks give them, pressure at mean sea level, precipitation and extreme
        temperatures over their periods. Reports of stations that the table lacks have no place, those whose day, hour
        and minute cannot be right no time; both are flagged so later. Attributes count the METAR and SPECI reports
        (``reports_read``), those without any value (``messages_broken``, dropped), winds of variable direction
        (``reports_variable_wind``), and, as JSON of counts, what is no report (``reports_left_out``: forecasts, NIL,
        others) and the groups that cannot be read or contradict another one, by quantity (``groups_unread``).

    Raises
    ------
    ObservationError
        If there is no table of stations, no date, or no report.
    OptionError
        If `date` is no date.

    References
    ----------
    WMO-No. 306, volume I.1, FM 15 METAR; Federal Meteorological Handbook No. 1 (2019), chapter 12 (remarks).
    """
    path = Path(path)
    if stations is None:
        raise ObservationError(
            f"{path}: METAR reports name their stations only. Give a table of places and heights: "
            "stations='master.txt' (or any table with the columns station, latitude, longitude, altitude)"
        )
    reports, left_out = split_reports(read_bulletin_text(path))
    reports.sort(key=lambda report: -report.correction)
    values = [decode_report(report) for report in reports]
    there = [i for i, value in enumerate(values) if value.by_name or value.over]
    if not there:
        raise ObservationError(
            f"{path}: no METAR report with a value, of {len(reports)} found (beside {left_out.get(FORECAST, 0)} "
            f"forecasts and {left_out.get(NIL, 0)} NIL). Expected at least one"
        )
    near = _estimate_date(path, date, reports)
    used, said = [reports[i] for i in there], [values[i] for i in there]
    coordinates = _build_coordinates(used, stations, near)
    if np.isnat(coordinates["time"]).all():
        raise ObservationError(
            f"{path}: none of {len(used)} METAR reports has a time within ten days of {near} (the first has "
            f"{used[0].time!r}). Expected day of the month, hour and minute; say near which date they were made: "
            "date='2019-07-01'"
        )
    variable = sum(WIND in v.by_name and DIRECTION not in v.by_name and DIRECTION not in v.unread for v in said)
    correction = np.array([report.correction for report in used])
    return _build_dataset(coordinates, said, correction).assign_attrs(
        reports_read=len(reports),
        messages_broken=len(reports) - len(there),
        reports_variable_wind=variable,
        reports_left_out=encode_counts(left_out),
        groups_unread=encode_counts(Counter(sorted(name for value in values for name in value.unread))),
    )


def is_metar(head: str) -> bool:
    """Whether text looks like METAR bulletins."""
    return _LIKE_METAR.search(head) is not None


def _build_coordinates(
    reports: Sequence[MetarReport], stations: pd.DataFrame, near: np.datetime64
) -> dict[str, np.ndarray]:
    names = np.array([report.station for report in reports], dtype=object)
    made = cache(resolve_time)
    times = [made(report.time, report.issued, near) for report in reports]
    places = {name: stations[name].reindex(names).to_numpy() for name in PLACE}
    return {"station": names, "time": np.array(times, "datetime64[s]"), **places}


def _build_dataset(
    coordinates: Mapping[str, np.ndarray], said: Sequence[ReportValues], correction: np.ndarray
) -> xr.Dataset:
    """Rows of the instant, and of each period."""
    names = [name for name in INSTANT if any(name in value.by_name for value in said)]
    parts = []
    if names:
        instant = {name: np.array([value.by_name.get(name, np.nan) for value in said]) for name in names}
        parts.append(_build_part(coordinates, instant, correction))
    for name, hours in sorted({key for value in said for key in value.over}):
        over = {name: np.array([value.over.get((name, hours), np.nan) for value in said])}
        parts.append(_build_part({**coordinates, "period": np.full(len(said), hours * HOUR)}, over, correction))
    return concat(parts)


def _build_part(
    coordinates: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], correction: np.ndarray
) -> xr.Dataset:
    """Reports that have one of some quantities; what was corrected later is flagged as a duplicate."""
    rows = np.any([np.isfinite(column) for column in columns.values()], axis=0)
    places = {name: array[rows] for name, array in coordinates.items()}
    values = {name: array[rows] for name, array in columns.items()}
    keys = {name: places[name] for name in ("station", "time")}
    flags = {name: flag_superseded(keys, array, correction[rows]) for name, array in values.items()}
    return build_observations(places, values, flags={name: flag for name, flag in flags.items() if flag.any()})


def _estimate_date(path: Path, date: str | None, reports: Sequence[MetarReport]) -> np.datetime64:
    """Date near which the reports were made: the one told, in the file's name, or before the first report."""
    if date is not None:
        try:
            told = datetime.fromisoformat(date)
        except (TypeError, ValueError) as error:
            raise OptionError(f"date={date!r} is no date. Expected ISO 8601, as in date='2019-07-01T12:00'") from error
        return np.datetime64(told.astimezone(UTC).replace(tzinfo=None) if told.tzinfo else told, "m")
    if found := _DATE.search(path.name):
        year, month, day, hour = found.groups()
        return np.datetime64(f"{year}-{month}-{day}T{hour or '12'}:00", "m")
    stamps = (parse_full_date(report.issued) for report in reports if len(report.issued) == 12)
    if (first := next((stamp for stamp in stamps if not np.isnat(stamp)), None)) is not None:
        return first
    raise ObservationError(
        f"{path}: METAR reports give the day of the month only, and the file's name has no date. Say when they "
        "were made: date='2019-07-01'"
    )
