"""Dimensions along which scores are kept: leads, starts, times, regions, seasons and levels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import OptionError, find_unknown, suggest_names
from xappa.verification.field_pairs import FieldPair

BY = ("lead", "init", "time", "region", "season", "level")
"""Dimensions of scores that can be asked for; levels are kept in any case."""

REGIONS: dict[str, tuple[float, float]] = {
    "global": (-90.0, 90.0),
    "northern-hemisphere": (20.0, 90.0),
    "tropics": (-20.0, 20.0),
    "southern-hemisphere": (-90.0, -20.0),
}
"""Bands of latitude (degrees north, both ends included) with the names and bounds of WeatherBench2's scorecards."""

SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}


def choose_by(by: str | Sequence[str] | None, names: Sequence[str | None]) -> tuple[str, ...] | None:
    """Dimensions along which scores are kept, by their names in xappa; None for the default.

    Parameters
    ----------
    by : str or sequence of str, optional
        Of `BY`, or the user's own names.
    names : sequence of (str or None)
        Names of start, lead and valid time in the Dataset.

    Raises
    ------
    OptionError
        If one is unknown, or is of forecasts and there are none.
    """
    if by is None:
        return None
    asked = (by,) if isinstance(by, str) else tuple(by)
    own = {name: word for name, word in zip(names, ("init", "lead", "time"), strict=True) if name is not None}
    if wrong := find_unknown(asked, {*BY, *own}):
        raise OptionError(
            f"by={by!r}: {wrong[0]!r} is none of {', '.join(map(repr, BY))}{suggest_names(str(wrong[0]), BY)}"
        )
    found = [word if word in BY else own[word] for word in asked]
    if {"lead", "init"} & set(found) and not any(names[:2]):
        raise OptionError(
            f"by={by!r} needs forecasts: found neither starts nor leads among the coordinates; expected a lead such as "
            "'prediction_timedelta' or 'step', or a start with standard_name='forecast_reference_time'"
        )
    if {"time", "init"} <= set(found):
        raise OptionError(f"by={by!r}: found both 'init' and 'time'; expected one of them, with 'lead' if need be")
    return tuple(dict.fromkeys(found))


def split_pair(pair: FieldPair, by: Collection[str]) -> Iterator[tuple[dict[str, Any], FieldPair]]:
    """A pair by region and season, as far as asked; parts without any point are left out."""
    for region in REGIONS if "region" in by else ("",):
        part = _select_band(pair, *REGIONS[region]) if region else pair
        for season in SEASONS if "season" in by else ("",):
            piece = _select_months(part, SEASONS[season]) if season else part
            labels = {key: value for key, value in (("region", region), ("season", season)) if value}
            if all(piece.truth.sizes.values()):
                yield labels, piece


def _select_band(pair: FieldPair, south: float, north: float) -> FieldPair:
    latitude = pair.truth["latitude"]
    inside = np.flatnonzero((latitude.values >= south - 1e-6) & (latitude.values <= north + 1e-6))
    return _select_rows(pair, str(latitude.dims[0]), inside)


def _select_months(pair: FieldPair, months: Sequence[int]) -> FieldPair:
    time = pair.truth["time"]
    return _select_rows(pair, str(time.dims[0]), np.flatnonzero(np.isin(time.dt.month.values, months)))


def _select_rows(pair: FieldPair, dim: str, rows: Array) -> FieldPair:
    return pair.map(lambda part: part.isel({dim: rows}, missing_dims="ignore"))


def concatenate_groups(parts: Sequence[tuple[dict[str, Any], xr.DataArray]]) -> xr.DataArray:
    """Scores of many groups along a dimension for each label."""
    first = next(iter(parts[0][0]), None)
    if first is None:
        return parts[0][1]
    values = list(dict.fromkeys(labels[first] for labels, _ in parts))
    within = [
        concatenate_groups(
            [({k: v for k, v in labels.items() if k != first}, part) for labels, part in parts if labels[first] == own]
        )
        for own in values
    ]
    axis = xr.Variable(first, np.array(values))
    whole = xr.concat(within, first, coords="minimal", compat="override", join="outer")
    return whole.assign_coords({first: axis})
