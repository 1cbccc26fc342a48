"""Times of day: hours, HHMM, ``06:00``, ``06Z``, ``6 PM`` and their relatives, as seconds after 00."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

from xappa.observations.readers.times.numbers import parse_clock_numbers

_TEXT = (
    r"^T?(?P<h>\d{1,2})(?:[:h.](?P<m>\d{2})(?:[:m.](?P<s>\d{2}(?:[.,]\d+)?)s?)?|h)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?:Z|z|UTC|utc|GMT|gmt|uhr|Uhr)?$"
)
_DIGITS = r"^(\d{3,4}|\d{6})\s*(?:Z|z|UTC|utc|GMT|gmt)?$"
CODES = (-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 999999.0)
"""Numbers that stand for a missing time of day."""


def parse_times_of_day(values: Any, hours: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the day of times of day.

    Parameters
    ----------
    values : array-like, shape (n,)
        Hours (fractions too), HHMM or HHMMSS as numbers or text; text such as ``06:00``, ``06Z``, ``6h``, ``6 PM``;
        `datetime.time`; timedelta64.
    hours : bool, default True
        Whether numbers of which none exceeds 24 are hours; else they are HHMM.

    Returns
    -------
    seconds : array of float, shape (n,)
        0 to 86400; NaN where missing or not readable.
    unread : array of bool, shape (n,)
        Where something was given that is neither a time of day nor a code for a missing one.
    """
    series = pd.Series(values).reset_index(drop=True)
    if pd.api.types.is_timedelta64_dtype(series.dtype):
        seconds = series.dt.total_seconds().to_numpy(float)
        wrong = ~((seconds >= 0) & (seconds <= 86400))
        return np.where(wrong, np.nan, seconds), wrong & series.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(series.dtype):
        return _convert_numbers(series.to_numpy(float, na_value=np.nan), hours)
    return _convert_objects(series, hours)


def _convert_numbers(numbers: np.ndarray, hours: bool) -> tuple[np.ndarray, np.ndarray]:
    missing = np.isin(numbers, CODES) | ~np.isfinite(numbers)
    numbers = np.where(missing, np.nan, numbers)
    largest = np.nanmax(numbers, initial=0.0)
    if largest <= 24 and hours:
        seconds = np.where((numbers >= 0) & (numbers <= 24), numbers * 3600, np.nan)
    else:
        whole = np.where(numbers == np.floor(numbers), numbers, np.nan)
        seconds = parse_clock_numbers(whole * (100 if largest <= 2400 else 1))
    return seconds, np.isnan(seconds) & ~missing


def _convert_objects(series: pd.Series, hours: bool) -> tuple[np.ndarray, np.ndarray]:
    codes, distinct = pd.factorize(series)
    texts = pd.Series([_to_text(value) for value in distinct], dtype="string")
    numeric = pd.to_numeric(texts, errors="coerce")
    missing = (numeric.isin(CODES) | texts.isin(["", "nan", "NaN", "NA", "null", "None"])).to_numpy(bool)
    if (numeric.notna() | missing).all() and not texts[~missing].str.match(r"^\d{3,}$").fillna(False).any():
        seconds = _convert_numbers(numeric.to_numpy(float, na_value=np.nan), hours)[0]
    else:
        seconds = _parse_texts(texts)
    seconds = np.where(missing, np.nan, seconds)
    unread = np.append(np.isnan(seconds) & ~missing, False)
    return np.append(seconds, np.nan)[codes], unread[codes]


def _to_text(value: Any) -> str:
    if isinstance(value, datetime.time):
        return value.isoformat()
    return value.decode(errors="replace").strip() if isinstance(value, bytes) else str(value).strip()


def _parse_texts(texts: pd.Series) -> np.ndarray:
    parts = texts.str.extract(_TEXT)
    h, m, s = (
        pd.to_numeric(parts[key].str.replace(",", "."), errors="coerce").to_numpy(float, na_value=np.nan)
        for key in "hms"
    )
    half = parts["half"].str[0].str.upper()
    h = np.where((half == "P").fillna(False) & (h < 12), h + 12, h)
    h = np.where((half == "A").fillna(False) & (h == 12), 0, h)
    seconds = parse_clock_numbers(h * 10000 + np.nan_to_num(m) * 100 + np.nan_to_num(s))
    # "0600", "600" and "060000": the last two digits are minutes or seconds.
    digits = texts.str.extract(_DIGITS)[0]
    number = pd.to_numeric(digits, errors="coerce").to_numpy(float, na_value=np.nan)
    short = (digits.str.len() <= 4).fillna(False).to_numpy(bool)
    return np.where(np.isnan(number), seconds, parse_clock_numbers(number * np.where(short, 100, 1)))
