"""The groups of one METAR or SPECI report as values.

Each group is known by its own form, wherever it stands: a group that is misplaced, unknown or garbled loses itself
only, never those behind it. What looks like a group that is needed and cannot be read is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from xappa.observations.readers.metar.bulletins import MetarReport

WIND, DIRECTION = "10m_wind_speed", "10m_wind_from_direction"
TEMPERATURE, DEWPOINT = "2m_temperature", "2m_dewpoint_temperature"
ALTIMETER, SEA_LEVEL = "altimeter_setting", "mean_sea_level_pressure"
RAIN, MAXIMUM, MINIMUM = "total_precipitation", "maximum_2m_temperature", "minimum_2m_temperature"
INSTANT = (TEMPERATURE, DEWPOINT, WIND, DIRECTION, ALTIMETER, SEA_LEVEL)

_KELVIN = 273.15
_INCH = 0.0254  # m
_MERCURY = 33.8638864  # Pa in a hundredth of an inch
_SPEED = {"KT": 1852.0 / 3600.0, "MPS": 1.0, "KMH": 1.0 / 3.6, "KPH": 1.0 / 3.6}  # m s-1

# A trend tells of the future, and remarks have groups of their own. Both end the body.
_END_OF_BODY = re.compile(r"\b(?:TEMPO|BECMG|INTER|PROB\d\d|FM\d{4,6}|RMKS?\d?|REMARKS?|A[O0][12]A?)\b")
_WIND = re.compile(
    r"(?<![\w/.])E?(\d{3}|VRB|VAR|///)/?(P?\d{2,3}|//)(?:G[P\d/]{0,4})?\s?(KT|MPS|KMH|KPH)|^(?:AUTO )?CALM\b"
)
_DEGREES = r"[M+-]?\d\d|[M-]\d|//|XX|MM?"
_TEMPERATURE = re.compile(rf"(?<![\w/+-])(?<!WS RWY )({_DEGREES})\s?/\s?({_DEGREES})?(?=\s|$|[QA]\d)")
# A temperature that is right before a dew point that is not.
_HALF = re.compile(r"(?<![\w/+-])(?<!RWY )([M-]?\d\d)/(?=[A-Z]{0,2}\d[\dA-Z]{0,2}(?:\s|$))")
_PRESSURE = re.compile(r"(?<![A-Z])(?:QNH|Q|A)\s?(\d\d\.\d\d|\d{4}\.\d|\d ?\d ?\d ?\d(?!\d)|\d{3}(?!\d))")
_SEA_LEVEL = re.compile(r"(?<!\S)SLP\s?(\d{3})(?!\S)")
_TENTHS = re.compile(r"(?<!\S)T([01]\d{3})([01]\d{3}|////)?(?!\S)")
_GARBLED = {
    (WIND,): re.compile(r"(?<![\w/])[^\s/]{0,9}\d[^\s/]{0,9}(?:KTS?|MPS|KMH)\b|^(?:AUTO )?\d{5}[A-Z]*(?!\S)"),
    (TEMPERATURE, DEWPOINT): re.compile(r"(?<!\S)(?<!RWY )[+M-]?[\dLO][\w.]{1,3}/[+M-]?[\w.]{0,4}(?!\S)"),
    (ALTIMETER,): re.compile(r"(?<![\w/])(?:QNH|Q|A)\s?[\dO]\w+"),
    (SEA_LEVEL,): re.compile(r"(?<!\S)SLP\s?\d"),
}
# Groups of the United States' stations and of those that follow them, which say AO1 or AO2; Canada's have other units.
_AMERICAN = re.compile(r"\bA[O0][12]A?\b")
_OVER_PERIOD = re.compile(r"(?<!\S)([P67])(\d{4})(?!\S)|(?<!\S)([12])([01]\d{3})(?!\S)")

_AGREE = 1.0
"""Degrees that tenths in the remarks may differ from the whole degrees of the body."""
_ROUNDED = 200.0
"""Pa that two altimeter settings of a report may differ: whole hPa and hundredths of an inch, both rounded down."""
_REDUCTIONS = 4000.0
"""Pa that pressure at sea level may differ from the altimeter setting, which is reduced in the standard atmosphere."""
_UNDECIDED = range(450, 600)
"""Tenths of hPa in ``SLPppp`` that may mean 945 to 960 or 1045 to 1060 hPa."""


@dataclass
class ReportValues:
    """Decoded values of a report.

    Parameters
    ----------
    by_name : dict of str to float
        Values in the units of the vocabulary, by quantity.
    over : dict of (str, int) to float
        Values over a period, by quantity and hours.
    unread : set of str
        Quantities whose group is there and cannot be read, or contradicts another one.
    """

    by_name: dict[str, float] = field(default_factory=dict)
    over: dict[tuple[str, int], float] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)


def decode_report(report: MetarReport) -> ReportValues:
    """Values of a report.

    References
    ----------
    WMO-No. 306, volume I.1, FM 15 METAR (15.5 wind, 15.11 temperatures, 15.12 QNH); Federal Meteorological Handbook
    No. 1 (2019), chapter 12 (remarks).
    """
    end = _END_OF_BODY.search(report.text)
    body, rest = (report.text[: end.start()], report.text[end.start() :]) if end else (report.text, "")
    values = ReportValues()
    _decode_wind(body, values)
    _decode_temperature(body, rest, values)
    _decode_altimeter(body, rest, values)
    _decode_sea_level(report.text, values)
    if _AMERICAN.search(rest) and not report.station.startswith("C"):
        _decode_period_values(rest, report.time, values)
    for names, garbled in _GARBLED.items():
        there = garbled.search(report.text if SEA_LEVEL in names else body)
        if there and not values.by_name.keys() & set(names):
            values.unread.update(names)
    return values


def _decode_wind(body: str, values: ReportValues) -> None:
    """Mean wind; the direction of a variable wind is missing, and that of a calm 0."""
    found = _WIND.search(body)
    if found is None:
        return
    direction, speed, unit = (found[1], found[2], found[3]) if found[1] else ("000", "00", "KT")
    if not speed.isdigit():
        return
    values.by_name[WIND] = int(speed) * _SPEED[unit]
    if direction.isdigit():
        # North is 360: 000 is the direction of a calm only.
        if int(direction) <= 360 and (int(direction) > 0 or int(speed) == 0):
            values.by_name[DIRECTION] = float(direction)
        else:
            values.unread.add(DIRECTION)


def _decode_temperature(body: str, rest: str, values: ReportValues) -> None:
    """Temperature and dew point: tenths of the remarks where they agree with the whole degrees of the body."""
    pairs = ((_parse_degrees(found[1]), _parse_degrees(found[2])) for found in _TEMPERATURE.finditer(body))
    whole = next((pair for pair in pairs if not np.isnan(pair).all()), None)
    if whole is None:
        half = _HALF.search(body)
        whole = (_parse_degrees(half[1]) if half else np.nan, np.nan)
        values.unread.update({DEWPOINT} if half else ())
    found = _TENTHS.search(rest)
    tenths = (_parse_tenths(found[1]), _parse_tenths(found[2])) if found else (np.nan, np.nan)
    for name, coarse, fine in zip((TEMPERATURE, DEWPOINT), whole, tenths, strict=True):
        if abs(fine - coarse) > _AGREE:
            values.unread.add(name)
            fine = coarse
        if not np.isnan(value := coarse if np.isnan(fine) else fine):
            values.by_name[name] = value + _KELVIN


def _parse_degrees(group: str | None) -> float:
    digits = (group or "").lstrip("M+-")
    return (-1 if group and group[0] in "M-" else 1) * float(digits) if digits.isdigit() else np.nan


def _parse_tenths(group: str | None) -> float:
    return (-1 if group[0] == "1" else 1) * int(group[1:]) / 10 if group and group.isdigit() else np.nan


def _decode_altimeter(body: str, rest: str, values: ReportValues) -> None:
    """Altimeter setting: of several that agree the finest; that of the remarks if the body has none."""
    settings = _parse_altimeter_settings(body) or _parse_altimeter_settings(rest)
    pressures = [pressure for _, pressure in settings]
    if settings and max(pressures) - min(pressures) <= _ROUNDED:
        values.by_name[ALTIMETER] = min(settings)[1]
    elif settings:
        values.unread.add(ALTIMETER)


def _parse_altimeter_settings(text: str) -> list[tuple[float, float]]:
    """Step and value (Pa) of each altimeter setting; its size tells hPa from inches of mercury."""
    settings = []
    for found in _PRESSURE.finditer(text):
        number = float(found[1].replace(" ", ""))
        number *= 100.0 if number < 100.0 else 1.0
        if 2500.0 <= number <= 3300.0:
            settings.append((_MERCURY, number * _MERCURY))
        elif 850.0 <= number <= 1100.0:
            settings.append((100.0, number * 100.0))
    return settings


def _decode_sea_level(text: str, values: ReportValues) -> None:
    """Pressure at sea level: ``SLPppp`` gives tens, units and tenths of hPa, the altimeter setting the hundreds."""
    found = _SEA_LEVEL.search(text)
    if found is None:
        return
    tenths, setting = int(found[1]), values.by_name.get(ALTIMETER)
    either = (90000.0 + 10.0 * tenths, 100000.0 + 10.0 * tenths)
    if setting is None and tenths not in _UNDECIDED:
        values.by_name[SEA_LEVEL] = min(either, key=lambda pressure: abs(pressure - 100000.0))
    elif setting is not None:
        nearest = min(either, key=lambda pressure: abs(pressure - setting))
        if abs(nearest - setting) <= _REDUCTIONS:
            values.by_name[SEA_LEVEL] = nearest


def _decode_period_values(rest: str, time: str, values: ReportValues) -> None:
    """Precipitation of 1 hour (``Prrrr``), 3 or 6 (``6RRRR``) and 24 (``7RRRR``), extreme temperatures of 6.

    They are made on the hour, up to a quarter before it; which one tells the period.
    """
    minute = int(time[2:4]) * 60 + int(time[4:6]) if len(time) == 6 and time.isdigit() else 0
    hour, after = divmod(minute + 15, 60)
    hour = hour % 24 if after <= 25 else -1
    six = 6 if hour % 6 == 0 else 0
    hours = {"P": int(hour >= 0), "6": six or (3 if hour % 3 == 0 else 0), "7": 24 if hour == 12 else 0}
    for found in _OVER_PERIOD.finditer(rest):
        kind, number = (found[1], found[2]) if found[1] else (found[3], found[4])
        name = {"1": MAXIMUM, "2": MINIMUM}.get(kind, RAIN)
        period = hours.get(kind, six) if hour >= 0 else 0
        if period:
            amount = int(number) * _INCH / 100.0 if name == RAIN else _parse_tenths(number) + _KELVIN
            values.over.setdefault((name, period), amount)
        else:
            values.unread.add(name)
