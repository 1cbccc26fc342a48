"""Verification at stations: which reports to withhold, and what their neighbours alone would have said."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from xappa.errors import ObservationError, OptionError
from xappa.geometry import EARTH_RADIUS, chord_to_arc, to_unit_vectors

WITHIN = np.timedelta64(90, "m")
NAMELESS = ("", "nan", "None", "NaN", "MISSING")
_PLACE = 0.01  # degrees; to which places are rounded
_NEAR = 2.0  # km; what stands so near to each other is one station, since tables of places differ by as much
_MOVED = 0.1  # degrees; a station that is seen farther apart than this is a moving platform


def identify_stations(obs: xr.Dataset) -> np.ndarray:
    """Name of the station of every report, the same for all that reports of one station are called.

    Reports belong together if they share an identifier, or else stand within 2 km of each other, so that one station
    that reaches us through several sources, which place it differently, counts once. A platform that moves (its places
    are more than 0.1 degrees apart) goes by its identifier alone.

    Parameters
    ----------
    obs : Dataset
        Observations in the one CF form.

    Returns
    -------
    array of str, shape (obs,)
        The first, in sorted order, of the identifiers and places of the station; independent of the reports' order.
    """
    latitude = np.asarray(obs["latitude"].values, float)
    longitude = np.asarray(obs["longitude"].values, float)
    place = _format_places(latitude, longitude)
    named = np.zeros(len(place), bool)
    station = place
    if "station" in obs.coords:
        station = np.asarray(obs["station"].values).astype(str)
        named = ~np.isin(station, NAMELESS)
        station = np.where(named, station, place)
    fixed = ~named | ~_is_moving(station, latitude, longitude)
    # A graph of names: identifiers and places are nodes, and a fixed report joins its identifier with its place.
    names, node = np.unique(np.concatenate([station, np.where(fixed, place, station)]), return_inverse=True)
    first, second = np.split(node, 2)
    near = _find_neighbour_pairs(second[fixed], latitude[fixed], longitude[fixed])
    edges = np.concatenate([first, near[:, 0]]), np.concatenate([second, near[:, 1]])
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(len(names), len(names)))
    _, component = connected_components(graph, directed=False)
    head = np.full(component.max(initial=-1) + 1, len(names))
    np.minimum.at(head, component, np.arange(len(names)))
    return names[head[component[first]]]


def withhold(obs: xr.Dataset, fraction: float = 0.15, seed: int = 0) -> tuple[xr.Dataset, xr.Dataset]:
    """Part the stations at random into those to use and those to verify with.

    Parameters
    ----------
    obs : Dataset
        Observations in the one CF form.
    fraction : float, default 0.15
        Share of the stations to withhold, 0 <= fraction < 1. All reports of a station (see `identify_stations`) stay
        together.
    seed : int, default 0
        The choice depends on it and on the set of stations, not on the order of the reports.

    Returns
    -------
    used, withheld : Dataset
    """
    if not 0 <= fraction < 1:
        raise OptionError(f"Found fraction={fraction}; expected the share of stations to withhold, 0 <= fraction < 1.")
    stations, index = np.unique(identify_stations(obs), return_inverse=True)
    chosen = np.random.default_rng(seed).permutation(len(stations))[: round(fraction * len(stations))]
    out = np.isin(index, chosen)
    return obs.isel(obs=~out), obs.isel(obs=out)


def interpolate_inverse_distance(
    obs_used: xr.Dataset,
    obs_withheld: xr.Dataset,
    variable: str,
    neighbours: int = 8,
    power: float = 2.0,
    lapse_rate: float = 0.0065,
    within: np.timedelta64 = WITHIN,
) -> xr.DataArray:
    """What the nearest other stations, weighted by a power of their inverse distance, say of the withheld reports.

    Parameters
    ----------
    obs_used, obs_withheld : Dataset
        Observations in the one CF form. Reports that are rejected (flag other than 0) are not used.
    variable : str
        Name of the quantity.
    neighbours : int, default 8
        Number of stations; fewer where there are not as many.
    power : float, default 2
        Weights are distance to minus this power; distances are great-circle.
    lapse_rate : float, default 0.0065
        K/m. ``2m_temperature`` is brought to the height of the withheld station where both heights are known.
    within : timedelta64, default 90 minutes
        Reports farther away in time are no neighbours; of each station the report nearest in time counts.

    Returns
    -------
    DataArray, dimension obs
        Along the reports of `obs_withheld`; missing where there is no neighbour. Reports on levels have neighbours
        on the same level only, and a station is never its own neighbour.
    """
    if variable not in obs_used or variable not in obs_withheld:
        raise ObservationError(f"No {variable!r} among the reports; found {sorted(map(str, obs_used.data_vars))}.")
    if neighbours < 1:
        raise OptionError(f"Found neighbours={neighbours}; expected at least 1.")
    both = xr.concat([_select_columns(obs_used, variable), _select_columns(obs_withheld, variable)], "obs")
    station = np.unique(identify_stations(both), return_inverse=True)[1]
    n = obs_used.sizes["obs"]
    source = _ReportArrays(both, slice(0, n), station, variable)
    target = _ReportArrays(both, slice(n, None), station, variable)
    source = source.select(source.good)
    height_rate = lapse_rate if variable == "2m_temperature" else 0.0
    result = np.full(len(target.time), np.nan)
    occasions = np.stack([target.time.astype("i8"), np.nan_to_num(target.level, nan=-1.0).astype("i8")], 1)
    group = np.unique(occasions, axis=0, return_inverse=True)[1].reshape(-1)
    for rows in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
        rows = rows[target.placed[rows]]
        if len(rows):
            near = _select_nearest_reports(source, target.time[rows[0]], target.level[rows[0]], within)
            result[rows] = _interpolate(near, target.select(rows), neighbours, power, height_rate)
    attrs = {k: v for k, v in obs_withheld[variable].attrs.items() if k in ("units", "standard_name", "long_name")}
    return xr.DataArray(result, dims="obs", coords=obs_withheld[variable].coords, attrs=attrs, name=variable)


class _ReportArrays:
    """Columns of reports as arrays."""

    def __init__(self, obs: xr.Dataset, part: slice, station: np.ndarray, variable: str) -> None:
        def column(name: str) -> np.ndarray:
            return np.asarray(obs[name].values[part], float)

        self.time = obs["time"].values[part].astype("datetime64[s]")
        self.level, self.height, self.value = column("level"), column("altitude"), column(variable)
        self.station = station[part]
        self.place = to_unit_vectors(column("latitude"), column("longitude"))
        self.placed = np.isfinite(self.place).all(-1) & ~np.isnat(self.time)
        self.good = self.placed & np.isfinite(self.value) & (obs["flag"].values[part] == 0)

    def select(self, rows: np.ndarray) -> _ReportArrays:
        """A part of the reports."""
        out = object.__new__(_ReportArrays)
        out.__dict__ = {name: column[rows] for name, column in self.__dict__.items()}
        return out


def _select_columns(obs: xr.Dataset, variable: str) -> xr.Dataset:
    n = obs.sizes["obs"]
    columns = {name: np.asarray(obs[name].values) for name in ("time", "latitude", "longitude")}
    for name in ("level", "altitude"):
        columns[name] = np.asarray(obs[name].values, float) if name in obs.coords else np.full(n, np.nan)
    columns["station"] = np.asarray(obs["station"].values).astype(str) if "station" in obs.coords else np.full(n, "")
    columns["flag"] = obs[f"{variable}_flag"].values if f"{variable}_flag" in obs else np.zeros(n, "i1")
    columns[variable] = np.asarray(obs[variable].values, float)
    bare = xr.Dataset({name: ("obs", column) for name, column in columns.items()})
    return bare.set_coords(["time", "latitude", "longitude", "level", "altitude", "station"])


def _select_nearest_reports(
    source: _ReportArrays, time: np.datetime64, level: float, within: np.timedelta64
) -> _ReportArrays:
    """The report of each station that is nearest to a time, on a level."""
    apart = np.abs((source.time - time) / np.timedelta64(1, "s"))
    same = np.isnan(source.level) if np.isnan(level) else np.abs(source.level - level) < 0.5
    rows = np.flatnonzero(same & (apart <= within / np.timedelta64(1, "s")))
    rows = rows[np.argsort(apart[rows], kind="stable")]
    return source.select(rows[np.unique(source.station[rows], return_index=True)[1]])


def _interpolate(
    near: _ReportArrays, target: _ReportArrays, neighbours: int, power: float, height_rate: float
) -> np.ndarray:
    # One more than asked for, since the station itself may be among them.
    k = min(neighbours + 1, len(near.value))
    if k == 0:
        return np.full(len(target.value), np.nan)
    chord, index = cKDTree(near.place).query(target.place, k=np.arange(1, k + 1))
    distance = chord_to_arc(chord)
    weight = np.maximum(distance, 1e-3) ** -power
    other = near.station[index] != target.station[:, None]
    weight = weight * (other & (np.cumsum(other, 1) <= neighbours))
    rise = np.nan_to_num(near.height[index] - target.height[:, None])
    total = weight.sum(1)
    with np.errstate(invalid="ignore"):
        return (weight * (near.value[index] + height_rate * rise)).sum(1) / total


def _format_places(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Text of places rounded to 0.01 degrees."""
    rows = np.stack([latitude / _PLACE, (longitude % 360) / _PLACE], 1)
    rows = np.where(np.isfinite(rows), np.round(rows), -1e6).astype(int)
    rows[:, 1] %= round(360 / _PLACE)
    unique, index = np.unique(rows, axis=0, return_inverse=True)
    text = np.array([f"@{a * _PLACE:+.2f}{b * _PLACE:+.2f}" for a, b in unique] or [""], dtype=str)
    return text[index.reshape(-1)]


def _find_neighbour_pairs(node: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Pairs (n, 2) of nodes whose places, of which one each is looked at, are near each other."""
    own, one = np.unique(node, return_index=True)
    place = to_unit_vectors(latitude[one], longitude[one])
    there = np.isfinite(place).all(-1)
    pairs = cKDTree(place[there]).query_pairs(_NEAR / EARTH_RADIUS, output_type="ndarray")
    return own[there][pairs].reshape(-1, 2)


def _is_moving(station: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Whether the station of each report is seen at places far from each other."""
    _, first, index = np.unique(station, return_index=True, return_inverse=True)
    east = ((longitude - longitude[first][index] + 180) % 360 - 180) * np.cos(np.deg2rad(latitude))
    north = latitude - latitude[first][index]
    far = np.fmax(np.abs(north), np.abs(east)) > _MOVED
    return np.bincount(index, far, minlength=len(first))[index] > 0
