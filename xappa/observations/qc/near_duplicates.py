"""One report that came twice, under two names or from two sources: one counts, in whatever order they come."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from xappa._typing import Array
from xappa.geometry import arc_to_chord
from xappa.observations.flags import Flag
from xappa.observations.qc.batch import APART, ReportBatch
from xappa.observations.qc.options import Quality

_LEVEL = 0.5  # hPa


def check_near_duplicates(batch: ReportBatch, quality: Quality) -> None:
    """Reject, in place, one of two reports that are one: that with the larger error, then the later one, then by place.

    Parameters
    ----------
    batch : ReportBatch
    quality : Quality
        Its `near_duplicates` (in deviations of the error), `near_distance` (km) and `near_time` (minutes).
    """
    if quality.near_duplicates is None:
        return
    first, second = _find_pairs(batch, quality)
    if not len(first):
        return
    rows = np.unique(np.concatenate([first, second]))
    units = {batch.list_components(name) for name in batch.value}
    for names in sorted(units):
        alike = np.ones(len(first), bool)
        for name in names:
            alike &= _agree_within_error(batch, name, first, second, quality.near_duplicates)
        place = np.empty(len(batch), np.int64)
        place[rows[_rank_reports(batch, names[0], rows)]] = np.arange(len(rows))
        a, b = place[first[alike]], place[second[alike]]
        pairs = np.stack([np.minimum(a, b), np.maximum(a, b)], axis=1)
        twice = np.zeros(len(rows), bool)
        # In order, so that of three in a row the second, once rejected, does not take the third with it.
        for a, b in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
            twice[b] |= not twice[a]
        wrong = np.zeros(len(batch), bool)
        wrong[rows] = twice[place[rows]]
        batch.reject(names[0], wrong, Flag.NEAR_DUPLICATE)


def _rank_reports(batch: ReportBatch, name: str, rows: Array) -> Array:
    """An order that what reports say decides alone: by error, time, place, source and station."""
    error = np.where(np.isfinite(batch.error[name]), batch.error[name], np.inf)
    columns = (batch.station, batch.source, batch.altitude, batch.longitude, batch.latitude, batch.seconds, error)
    return np.lexsort([column[rows] for column in columns])


def _find_crowded_places(batch: ReportBatch, quality: Quality) -> Array:
    """Positions of reports at whose place, or near it, reports go by other names: of fixed stations those are few."""
    placed = np.flatnonzero(np.isfinite(batch.unit_vectors).all(axis=1) & ((batch.station >= 0) | (batch.source >= 0)))
    if len(placed) < 2:
        return placed
    number = batch.sites[1][placed]
    first = np.full(len(batch.sites[0]), -1)
    first[number[::-1]] = np.arange(len(number) - 1, -1, -1)
    near = np.zeros(len(first), bool)
    for values in (batch.station[placed], batch.source[placed]):
        near[number[values != values[first][number]]] = True
    known = np.flatnonzero(first >= 0)
    if len(known) > 1:
        reach = arc_to_chord(quality.near_distance) * (1 + 1e-9)
        pairs = cKDTree(batch.unit_vectors[placed[first[known]]]).query_pairs(reach, output_type="ndarray")
        near[known[pairs.ravel()]] = True
    return placed[near[number]]


def _find_pairs(batch: ReportBatch, quality: Quality) -> tuple[Array, Array]:
    """Positions of reports that are near each other and go by different names."""
    placed = _find_crowded_places(batch, quality)
    if len(placed) < 2:
        return np.empty(0, int), np.empty(0, int)
    reach = arc_to_chord(quality.near_distance)
    # One tree over space and time, so that a station's long series is no crowd; windows lie far apart.
    time = batch.seconds[placed] / (60 * quality.near_time) * reach
    tree = cKDTree(np.column_stack([batch.unit_vectors[placed], time, APART * batch.window[placed]]))
    pairs = placed[tree.query_pairs(reach * (1 + 1e-9), p=np.inf, output_type="ndarray")]
    a, b = pairs.T
    other_source = (batch.source[a] != batch.source[b]) & (batch.source[a] >= 0) & (batch.source[b] >= 0)
    other_name = (batch.station[a] != batch.station[b]) & (batch.station[a] >= 0) & (batch.station[b] >= 0)
    near = np.linalg.norm(batch.unit_vectors[a] - batch.unit_vectors[b], axis=1) <= reach
    upper = np.isfinite(batch.level[a]) | np.isfinite(batch.level[b])
    with np.errstate(invalid="ignore"):
        level = ~upper | (np.abs(batch.level[a] - batch.level[b]) <= _LEVEL)
    keep = near & level & (other_source | other_name) & (batch.kind[a] == batch.kind[b])
    return a[keep], b[keep]


def _agree_within_error(batch: ReportBatch, name: str, a: Array, b: Array, k: float) -> Array:
    good = batch.find_good(name)
    error = np.fmax(np.nan_to_num(batch.error[name][a]), np.nan_to_num(batch.error[name][b]))
    with np.errstate(invalid="ignore"):
        return good[a] & good[b] & (np.abs(batch.value[name][a] - batch.value[name][b]) <= k * error)
