r"""Buddy check: a report that its neighbours contradict is rejected.

A report's departure d (from the background, where there is one) is compared with the median m of those of its nearest
neighbours, other stations on the same level:

.. math::
   |d - m| > k \sqrt{\sigma_o^2 + s^2}, \qquad
   s^2 = \max \left( (1.4826 \, \mathrm{MAD})^2, \; \sigma_o^2, \; 2 \sigma_b^2 (1 - \rho(r)) \right),

where MAD is the neighbours' median absolute deviation and the last term is what departures differ by, at the median
distance r, if the background's errors are correlated as :math:`\rho(r) = (1 + r/L) e^{-r/L}`. Median and MAD stand up
to as many as half of the neighbours being wrong. The check is made twice: reports that fail the first time are no
neighbours the second time, which alone decides.

References
----------
Dee, Rukhovets, Todling, da Silva and Larson (2001), An adaptive buddy check for observational quality control, Q. J. R.
Meteorol. Soc. 127, 2451-2471.
Båserud, Lussana, Nipen, Seierstad, Oram and Aspelien (2020), TITAN automatic spatial quality control of meteorological
in-situ observations, Adv. Sci. Res. 17, 153-163.
Rousseeuw and Croux (1993), Alternatives to the median absolute deviation, J. Am. Stat. Assoc. 88, 1273-1283 (1.4826).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from xappa._typing import Array
from xappa.geometry import arc_to_chord, chord_to_arc
from xappa.observations.flags import Flag
from xappa.observations.formulas import standard_pressure
from xappa.observations.names import QUANTITIES
from xappa.observations.qc.batch import APART, ReportBatch
from xappa.observations.qc.options import Quality
from xappa.standard_atmosphere import LAPSE_RATE

NEIGHBOURS = 8
BLOCK = 100_000  # reports whose neighbours are held at once
_CANDIDATES = 2 * NEIGHBOURS
_USUAL = 12  # candidates among which there are enough neighbours of most reports
_SLOT = 3600.0  # s; of each station one report an hour is a neighbour of others
_DRIFT = 100.0  # km that an hour counts for when the nearest are sought
CORRELATION_LENGTH = 300.0
"""L, km: the order of those of forecast errors near the ground."""


def check_buddies(batch: ReportBatch, found: Mapping[str, tuple[Array, Array]], quality: Quality) -> None:
    """Reject, in place, reports that their neighbours contradict.

    Parameters
    ----------
    batch : ReportBatch
    found : mapping of str to (mean, deviation), each (N,)
        What a background says, where there is one. Without it, values themselves are compared: 2 m temperature after
        bringing it to one height (6.5 K/km), pressure at the station as a departure from the standard atmosphere.
    quality : Quality
        Its `buddies`, `radius` and `least`.
    """
    if quality.buddies is None:
        return
    wrong = {
        name: _find_contradicted(batch, name, found.get(name), quality) for name in batch.value if is_comparable(name)
    }
    for name, mask in wrong.items():
        batch.reject(name, mask, Flag.BUDDY_CHECK)


def is_comparable(name: str) -> bool:
    """Whether neighbours say anything of a quantity: not of directions, showers, or what is not in the vocabulary."""
    known = QUANTITIES.get(name)
    return known is not None and (known.units != "degree" and "precipitation" not in name)


def _find_contradicted(batch: ReportBatch, name: str, found: tuple[Array, Array] | None, quality: Quality) -> Array:
    departure, deviation = _adjust_to_common_height(batch, name), np.zeros(len(batch))
    if found is not None:
        known = np.isfinite(found[0]) & np.isfinite(found[1])
        # A window of which a background knows nothing is compared as without it.
        told = batch.any_in_window(known)
        departure = np.where(told, batch.value[name] - np.where(known, found[0], np.nan), departure)
        deviation = np.where(known, found[1], 0.0)
    usable = batch.find_good(name) & np.isfinite(departure) & np.isfinite(batch.unit_vectors).all(axis=1)
    wrong = np.zeros(len(batch), bool)
    level = np.round(np.nan_to_num(batch.level, nan=-1.0), 1)
    sure = ~batch.contradicted[name] if name in batch.contradicted else np.ones(len(batch), bool)
    for rows in _split_by_level(batch.place_order[usable[batch.place_order]], level, batch.kind):
        if np.count_nonzero(sure[rows]) >= quality.least:
            wrong[rows] = _find_contradicted_on_level(batch, name, rows, sure[rows], departure, deviation, quality)
    return wrong


def _adjust_to_common_height(batch: ReportBatch, name: str) -> Array:
    """Values that neighbours have in common, whatever their heights."""
    if name == "2m_temperature":
        return batch.value[name] + LAPSE_RATE * np.nan_to_num(batch.altitude)
    if name == "surface_pressure":
        return batch.value[name] - standard_pressure(batch.altitude)
    return batch.value[name]


def _split_by_level(rows: Array, level: Array, kind: Array) -> list[Array]:
    """Rows of one level and kind each, in the order in which they come."""
    if len(rows) and (level[rows] == level[rows[0]]).all() and (kind[rows] == kind[rows[0]]).all():
        return [rows]
    order = np.lexsort((kind[rows], level[rows]))
    rows = rows[order]
    change = (np.diff(level[rows]) != 0) | (np.diff(kind[rows]) != 0)
    return np.split(rows, np.flatnonzero(change) + 1) if len(rows) else []


def _find_contradicted_on_level(
    batch: ReportBatch, name: str, rows: Array, sure: Array, departure: Array, deviation: Array, quality: Quality
) -> Array:
    """Which of the reports `rows`, all on one level, are contradicted; those that are not `sure` contradict none."""
    error = _fill_errors(batch.error[name][rows], batch.window[rows])
    values = departure[rows], error, deviation[rows]
    around = _Neighbourhood(batch, rows, sure, quality.radius)
    suspect = np.zeros(len(rows), bool)
    again = np.arange(len(rows))
    for _ in range(2):
        trusted = ~suspect & sure
        blocks = [again[i : i + BLOCK] for i in range(0, len(again), BLOCK)]
        found = [_find_outliers(values, block, around(block, trusted), around, quality) for block in blocks]
        suspect = suspect.copy()
        suspect[again] = np.concatenate(found)
        again = around.find_near(suspect)
        if not len(again):
            break
    return suspect


def _fill_errors(error: Array, window: Array) -> Array:
    """Errors; where they are not known, the median of the window's, or 0 if it has none."""
    known = np.isfinite(error)
    if known.all():
        return error
    median = pd.Series(np.where(known, error, np.nan)).groupby(window).transform("median").fillna(0.0)
    return np.where(known, error, median)


def _find_outliers(
    values: tuple[Array, Array, Array], block: Array, near: Array, around: _Neighbourhood, quality: Quality
) -> Array:
    """Whether each report of a block is beyond the bound, given its neighbours (-1 where none)."""
    departure, error, deviation = values
    wrong = np.zeros(len(block), bool)
    rows = np.flatnonzero((near >= 0).sum(axis=1) >= quality.least)
    if quality.buddies is None or not len(rows):
        return wrong
    median = _compute_row_medians(_gather_neighbours(near[rows], departure))
    away = np.abs(departure[block[rows]] - median) / quality.buddies
    # The bound grows term by term, so that the later ones are needed for few.
    far = away > np.sqrt(2 * error[block[rows]] ** 2) * (1 - 1e-9)
    rows, median, own = rows[far], median[far], block[rows[far]]
    spread = 1.4826 * _compute_row_medians(np.abs(_gather_neighbours(near[rows], departure) - median[:, None]))
    apart = _compute_row_medians(around.compute_distances(own, near[rows])) / CORRELATION_LENGTH
    structure = 2 * deviation[own] ** 2 * (1 - (1 + apart) * np.exp(-apart))
    expected = error[own] ** 2 + np.maximum(np.maximum(spread**2, error[own] ** 2), structure)
    # Where nothing is known of errors, neighbours that agree exactly are no measure of anything.
    wrong[rows] = (np.abs(departure[own] - median) > quality.buddies * np.sqrt(expected)) & (expected > 0)
    return wrong


def _gather_neighbours(near: Array, values: Array) -> Array:
    """Values of neighbours; NaN where there is none."""
    return np.where(near >= 0, values[near], np.nan)


def _compute_row_medians(values: Array) -> Array:
    """Medians of rows without what is missing; several times as fast as `numpy.nanmedian`."""
    ordered, number = np.sort(values, axis=1), np.isfinite(values).sum(axis=1)
    low, high = (np.take_along_axis(ordered, ((number - k) // 2)[:, None], axis=1)[:, 0] for k in (1, 0))
    return (low + high) / 2


class _Neighbourhood:
    """The nearest reports of other stations, in space and time together, of the same window."""

    def __init__(self, batch: ReportBatch, rows: Array, sure: Array, radius: float) -> None:
        time = batch.seconds[rows] / _SLOT * arc_to_chord(_DRIFT)
        far = APART * batch.window[rows]
        self.places, self.station = np.column_stack([batch.unit_vectors[rows], time, far]), batch.station[rows]
        self.pool, self.reach = _select_candidates(batch, rows, sure), arc_to_chord(radius)
        # The nearest of those that are kept together are found fastest, where the tree is large.
        together = cKDTree(self.places[self.pool], balanced_tree=False, compact_nodes=False).indices
        self.number = self.pool[together]
        self.tree = cKDTree(self.places[self.number])

    def find_near(self, some: Array) -> Array:
        """Positions of the reports that have one of some (a mask) within reach, themselves included."""
        if not some.any():
            return np.empty(0, int)
        away, _ = cKDTree(self.places[some]).query(self.places, distance_upper_bound=self.reach)
        return np.flatnonzero(np.isfinite(away))

    def __call__(self, block: Array, trusted: Array) -> Array:
        """Positions (n, 8) of the neighbours of each report of a block, nearest first, -1 where there is none."""
        near = np.full((len(block), NEIGHBOURS), -1)
        rows, most = np.arange(len(block)), _USUAL
        while len(rows):
            found, away = self._find_nearest(block[rows], most)
            other = self._find_candidates(found, block[rows], trusted)
            enough = self._has_enough(other, away, len(self.pool) <= most)
            near[rows[enough]] = _select_first(found[enough, :_CANDIDATES], other[enough, :_CANDIDATES])
            rows, most = rows[~enough], max(2 * most, _CANDIDATES + 1) if most > _USUAL else _CANDIDATES + 1
        return near

    def compute_distances(self, rows: Array, near: Array) -> Array:
        """Distances, km, of reports from their neighbours (n, 8); NaN where there is none."""
        straight = np.linalg.norm(self.places[near, :3] - self.places[rows, None, :3], axis=-1)
        return np.where(near >= 0, chord_to_arc(straight), np.nan)

    def _find_nearest(self, block: Array, most: int) -> tuple[Array, Array]:
        """The nearest candidates, -1 where there are no more, and how far they are; the first of those equally far."""
        columns = np.arange(1, most + 1)
        away, index = self.tree.query(self.places[block], k=columns, distance_upper_bound=self.reach)
        near = np.append(self.number, -1)[index]
        tied = np.flatnonzero(((away[:, 1:] == away[:, :-1]) & np.isfinite(away[:, 1:])).any(axis=1))
        order = np.lexsort((near[tied], away[tied]), axis=1)
        near[tied] = np.take_along_axis(near[tied], order, axis=1)
        return near, away

    def _find_candidates(self, near: Array, block: Array, trusted: Array) -> Array:
        """Mask of the candidates that are good reports of another station."""
        own = self.station[block][:, None]
        other = (near >= 0) & (near != block[:, None]) & trusted[near]
        return other & ((self.station[near] != own) | (own < 0))

    def _has_enough(self, other: Array, away: Array, all_of_them: bool) -> Array:
        """Where those that count are among the candidates that were found, whatever others are just as far."""
        last = away[:, -1]
        whole = ~np.isfinite(last) | all_of_them
        within = (other & (away < last[:, None])).sum(axis=1) >= NEIGHBOURS
        if away.shape[1] > _CANDIDATES:
            within |= away[:, _CANDIDATES - 1] < last
        return whole | within


def _select_first(near: Array, mask: Array) -> Array:
    """The first 8 of each row for which a mask holds, -1 where there are fewer."""
    mask = mask & (np.cumsum(mask, axis=1, dtype=np.int8) <= NEIGHBOURS)
    found = np.full((len(near), NEIGHBOURS), -1)
    found[np.arange(NEIGHBOURS) < mask.sum(axis=1)[:, None]] = near[mask]
    return found


def _select_candidates(batch: ReportBatch, rows: Array, sure: Array) -> Array:
    """Positions in `rows` of those that may be neighbours: of a named station the first of every hour of a window."""
    station = batch.station[rows]
    named = np.flatnonzero((station >= 0) & sure)
    slot = np.floor(batch.seconds[rows[named]] / _SLOT).astype(int)
    code = station[named].astype(np.int64) + (int(station.max(initial=0)) + 1) * batch.window[rows[named]]
    key = code * (int(slot.max(initial=0)) + 1) + slot
    by_time = np.argsort(batch.seconds[rows[named]], kind="stable")
    first = named[by_time[np.unique(key[by_time], return_index=True)[1]]]
    return np.sort(np.concatenate([first, np.flatnonzero((station < 0) & sure)]))
