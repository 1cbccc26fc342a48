"""All checks beyond those of reading, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.observations.qc.background_check import check_background
from xappa.observations.qc.batch import Background, ComparisonBasis, ReportBatch
from xappa.observations.qc.buddy_check import check_buddies
from xappa.observations.qc.contradictions import find_contradictions, resolve_contradictions
from xappa.observations.qc.index import ReportIndex
from xappa.observations.qc.near_duplicates import check_near_duplicates
from xappa.observations.qc.options import Quality
from xappa.observations.qc.position_checks import REPORTED, check_places
from xappa.observations.qc.repeats import flag_repeats, reset_contradictory
from xappa.observations.qc.windows import check_windows
from xappa.observations.schema import encode_counts, quantities

WINDOW = np.timedelta64(6, "h")

NOT_CHECKED = "reports_not_checked"
"""Attribute of observations: numbers, by quantity (JSON), of good reports that the background check let pass, as there
was nothing to compare them with."""

BY_CLIMATOLOGY = "reports_checked_by_climatology"
"""The same, of those that it compared with the climatology, as the background says nothing of them."""


def run_quality_control(
    obs: xr.Dataset,
    quality: Quality,
    *,
    background: Background | None = None,
    surface: Array | None = None,
    reduced: Iterable[str] = REPORTED,
    window: np.timedelta64 = WINDOW,
    index: ReportIndex | None = None,
) -> xr.Dataset:
    """Flag reports that other information contradicts; none is removed.

    In this order, the first reason staying: track, station table and heights; background; buddies; near-duplicates.
    Of reports of one station and time that contradict each other, background and buddies keep the one that passes where
    all others fail; else all are ``contradictory``.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema, flagged by `check`, with errors where they are known.
    quality : Quality
    background : callable, optional
        Maps a `ReportBatch` to means and deviations by quantity. Without it there is no background check.
    surface : array of float, (obs,), optional
        Height of the model's surface at the reports, m.
    reduced : iterable of str, optional
        Pressures that stand for that at mean sea level. Default: those reported so.
    window : timedelta64
        Reports are compared within windows of this length.
    index : ReportIndex, optional
        Index of the coordinates, where it is there already.

    Returns
    -------
    Dataset
        The same with flags; lazy where the values are. The attributes ``reports_not_checked`` and
        ``reports_checked_by_climatology`` count, by quantity (JSON), what could not be compared with the background,
        where values are in memory.
    """
    index = index or ReportIndex(obs)
    repeats = index.repeats
    obs = check_places(reset_contradictory(obs, repeats), quality, surface, reduced, index.station)
    if not quality.compares:
        return flag_repeats(obs, repeats)
    columns = {"station": index.station} | ({} if repeats is None else repeats.to_columns(obs.sizes["obs"]))
    obs, basis = check_windows(obs, WindowChecks(quality, background), window, columns)
    return obs if background is None or quality.background is None else _record_unchecked_counts(obs, basis)


def _record_unchecked_counts(obs: xr.Dataset, basis: Array | None) -> xr.Dataset:
    """`obs` with the numbers of reports that were not compared with the background; None: known when it is computed."""
    if basis is None:
        return obs
    names = quantities(obs)
    for key, code in ((NOT_CHECKED, ComparisonBasis.NOTHING), (BY_CLIMATOLOGY, ComparisonBasis.CLIMATOLOGY)):
        counts = dict(zip(names, (basis == code).sum(axis=1), strict=True))
        obs = obs.assign_attrs({key: encode_counts({name: n for name, n in counts.items() if n})})
    return obs


@dataclass(frozen=True)
class WindowChecks:
    """The checks of windows.

    Parameters
    ----------
    quality : Quality
    background : callable or None
    """

    quality: Quality
    background: Background | None

    def __call__(self, batch: ReportBatch) -> None:
        """Reject reports of `batch`, in place."""
        doubt = find_contradictions(batch)
        found = {} if self.background is None else dict(self.background(batch))
        if self.background is not None and self.quality.background is not None:
            _mark_not_compared(batch, found)
            check_background(batch, found, self.quality.background)
            resolve_contradictions(batch, doubt)
        check_buddies(batch, _select_comparison_basis(batch, found), self.quality)
        resolve_contradictions(batch, doubt, last=True)
        check_near_duplicates(batch, self.quality)


def _mark_not_compared(batch: ReportBatch, found: Mapping[str, tuple[Array, Array]]) -> None:
    """Note, in place, which good reports there is nothing to compare with."""
    for name, basis in batch.basis.items():
        known = np.isfinite(found[name]).all(axis=0) if name in found else np.zeros(len(batch), bool)
        good = batch.find_good(name)
        basis[~good] = ComparisonBasis.BACKGROUND
        basis[good & ~known] = ComparisonBasis.NOTHING


def _select_comparison_basis(
    batch: ReportBatch, found: Mapping[str, tuple[Array, Array]]
) -> dict[str, tuple[Array, Array]]:
    """What neighbours are compared by: in windows of which the background says something, by that alone."""
    result = {}
    for name, (mean, deviation) in found.items():
        other = batch.basis[name] == ComparisonBasis.CLIMATOLOGY
        mixed = other & batch.any_in_window(np.isfinite(mean) & ~other) if other.any() else other
        result[name] = (np.where(mixed, np.nan, mean), deviation) if mixed.any() else (mean, deviation)
    return result
