"""Correlated errors of observations: along a profile or a track, or within a block such as a scan or a grid box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import xarray as xr

from xappa._typing import Array
from xappa.errors import OptionError, is_number, suggest_names
from xappa.geometry import chord_to_arc, to_unit_vectors
from xappa.observations.errors.attributes import (
    ATTRIBUTE,
    Options,
    format_correlation_attr,
    get_sources,
    number_statements,
    parse_correlation_attr,
    require_correlation_stated,
)
from xappa.observations.schema import quantities

_ALONG = ("level", "time", "track", "place")


@dataclass(frozen=True)
class Correlation:
    """Correlation of the errors of one quantity.

    Parameters
    ----------
    kind : {"exponential", "uniform"}
        Falling off as ``exp(-distance / scale)``, or the same for all in a block.
    along : {"level", "time", "track", "place"}
        What the distance of an exponential one is in: ``"level"`` the logarithm of pressure (0.2 is some 1.5 km),
        ``"time"`` hours, ``"track"`` km travelled in the order of the times, ``"place"`` km on the sphere, in all
        directions (in blocks of at most 512 reports).
    scale : float
        Length of an exponential one, in these units.
    strength : float, default 0.5
        Correlation of a uniform one, between 0 and 1.
    by : tuple of str, default ("station", "time")
        Coordinates that reports of one sequence or block have in common; those with different ones are independent. For
        a satellite's swath ``("source",)`` or ``()``.

    Raises
    ------
    OptionError
        If an option makes no sense.
    """

    kind: str = "exponential"
    along: str = "level"
    scale: float = 0.2
    strength: float = 0.5
    by: tuple[str, ...] = ("station", "time")

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in ("exponential", "uniform"):
            problems.append(f"kind={self.kind!r}, expected 'exponential' or 'uniform'")
        if self.along not in _ALONG:
            problems.append(f"along={self.along!r}, expected one of {', '.join(map(repr, _ALONG))}")
        if not is_number(self.scale) or self.scale <= 0:
            problems.append(f"scale={self.scale!r}, expected a number above 0 in the units of `along`")
        if not is_number(self.strength) or not 0 <= self.strength < 1:
            problems.append(f"strength={self.strength!r}, expected a number of at least 0 and less than 1")
        if problems:
            raise OptionError(f"Correlation: {'; '.join(problems)}")

    @property
    def sequential(self) -> bool:
        """Whether reports of a group lie on a line, so that no matrix is needed."""
        return self.kind == "exponential" and self.along != "place"

    def groups(self, obs: xr.Dataset) -> Array:
        """Number of the sequence or block of each report, int (obs,)."""
        missing = [name for name in self.by if name not in obs.coords]
        if missing:
            raise OptionError(
                f"Correlation(by={self.by}) needs the coordinate {' and '.join(missing)}, and the observations have "
                f"{', '.join(map(str, obs.coords))}"
            )
        if not self.by:
            return np.zeros(obs.sizes["obs"], dtype=np.int64)
        keys = pd.DataFrame({name: np.asarray(obs[name]) for name in self.by})
        return keys.groupby(list(self.by), dropna=False, sort=False).ngroup().to_numpy()

    def positions(self, obs: xr.Dataset, groups: Array) -> Array:
        """Place of each report along its sequence in units of `scale`, float (obs,)."""
        if self.along == "level":
            if "level" not in obs.coords:
                raise OptionError("Correlation(along='level') needs reports with a level")
            return np.log(np.asarray(obs["level"], float)) / self.scale
        time = np.asarray(obs["time"])
        hours = (time - time.min()) / np.timedelta64(3600, "s") if time.size else np.zeros(0)
        return hours / self.scale if self.along == "time" else _compute_track_distance(obs, groups, hours) / self.scale


def _compute_track_distance(obs: xr.Dataset, groups: Array, hours: Array) -> Array:
    """Km along the track of each group."""
    order = np.lexsort((hours, groups))
    xyz = compute_unit_vectors(obs)[order]
    step = np.r_[0.0, chord_to_arc(np.linalg.norm(np.diff(xyz, axis=0), axis=1))]
    result = np.empty(len(order))
    # Sums run on from group to group: only differences within one matter.
    result[order] = np.cumsum(step)
    return result


def compute_unit_vectors(obs: xr.Dataset) -> Array:
    """Places of reports on the unit sphere, float (obs, 3)."""
    return to_unit_vectors(*(np.asarray(obs[name], float) for name in ("latitude", "longitude")))


def compute_distances(xyz: Array) -> Array:
    """Distances (km) between all places of a block, float (n, n)."""
    return chord_to_arc(np.linalg.norm(xyz[:, None] - xyz, axis=-1))


def with_correlation(obs: xr.Dataset, correlation: Mapping[str, Correlation | Mapping[str, Correlation]]) -> xr.Dataset:
    """State how errors are correlated. Errors of reports from different sources are independent.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema; not changed.
    correlation : mapping of str to Correlation, or to a mapping by source
        By quantity. Of several sources, one holds within each; of sources that a mapping does not name stays what was
        stated before.

    Returns
    -------
    Dataset
        The same, with the attribute ``error_correlation`` (JSON) on each of these quantities, and a coordinate of that
        name by which reports are known that something else joins to them.

    Raises
    ------
    OptionError
        If a quantity or source is not there, or a coordinate that the correlation needs.
    """
    obs = obs.copy()
    names, sources = quantities(obs), list(dict.fromkeys(get_sources(obs)))
    for name, one in correlation.items():
        if name not in names:
            raise OptionError(
                f"No observed quantity {name!r}; there are {', '.join(names)}{suggest_names(name, names)}"
            )
        if isinstance(one, Correlation) and len(sources) < 2:
            stated = format_correlation_attr(_to_options(one, obs), by_source=False)
        else:
            stated = format_correlation_attr(_list_source_options(one, obs, name, sources), by_source=True)
        obs[name] = obs[name].assign_attrs({ATTRIBUTE: stated})
    return number_statements(obs)


def _list_source_options(
    one: Correlation | Mapping[str, Correlation], obs: xr.Dataset, name: str, sources: Sequence[str]
) -> dict[str, Options | None]:
    """Options of each source."""
    if isinstance(one, Correlation):
        return dict.fromkeys(sources, _to_options(one, obs))
    wrong = [label for label in one if label not in sources]
    if wrong:
        raise OptionError(
            f"No source {', '.join(map(repr, wrong))} among the observations; there is {', '.join(map(repr, sources))}"
        )
    whole, before = parse_correlation_attr(obs[name])
    return {label: _to_options(one[label], obs) if label in one else before.get(label, whole) for label in sources}


def list_correlations(obs: xr.Dataset, name: str) -> list[tuple[Array, Correlation]]:
    """Correlation of the errors of a quantity.

    Returns
    -------
    list of (array of int, Correlation)
        Reports whose errors are correlated with each other, and how; those of different entries are independent, and
        those in none.

    Raises
    ------
    ObservationError
        If there are reports of which nothing was stated.
    """
    require_correlation_stated(obs, [name])
    whole, by_source = parse_correlation_attr(obs[name])
    if whole is not None:
        return [(np.arange(obs.sizes["obs"]), _build_correlation(whole))]
    sources = get_sources(obs) if by_source else np.zeros(0, object)
    return [(np.flatnonzero(sources == label), _build_correlation(own)) for label, own in by_source.items() if own]


def _to_options(one: Correlation, obs: xr.Dataset) -> Options:
    one.groups(obs.isel(obs=slice(0)))
    return asdict(one)


def _build_correlation(options: Options) -> Correlation:
    return Correlation(**(options | {"by": tuple(options["by"])}))
