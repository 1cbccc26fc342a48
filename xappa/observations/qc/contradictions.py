"""Of several reports of one station and time that contradict each other, the one that passes the checks is used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xappa._typing import Array
from xappa.observations.flags import Flag
from xappa.observations.qc.agreement import AgreeingValues, compare_repeats
from xappa.observations.qc.batch import ReportBatch


def find_contradictions(batch: ReportBatch) -> dict[tuple[str, ...], Array]:
    """Flag repeats of a batch, in place, and find the reports that contradict another: bool (N,), by unit.

    Values that differ less than their errors allow are repeats here, where errors are known.
    """
    rows = np.flatnonzero(batch.group >= 0)
    found: dict[tuple[str, ...], Array] = {}
    for names in sorted({batch.list_components(name) for name in batch.value}) if len(rows) else ():
        parts = [AgreeingValues(n, batch.value[n][rows], batch.error[n][rows], batch.find_good(n)[rows]) for n in names]
        duplicate, contested = compare_repeats(parts, batch.group[rows], batch.tie[rows])
        for name, twice in zip(names, duplicate, strict=True):
            batch.flag[name][rows[twice]] = Flag.DUPLICATE
        if contested.any():
            found[names] = np.zeros(len(batch), bool)
            found[names][rows[contested]] = True
            for name in names:
                batch.contradicted[name] = found[names] & batch.find_good(name)
    return found


def resolve_contradictions(batch: ReportBatch, doubt: Mapping[tuple[str, ...], Array], last: bool = False) -> None:
    """Keep, of reports that contradict each other, the one that passed a check which all others failed, in place.

    Parameters
    ----------
    batch : ReportBatch
        After the check.
    doubt : mapping of tuple of str to array of bool, (N,)
        Of `find_contradictions`.
    last : bool, default False
        Whether there is no other check to judge them: then those that remain are all rejected.
    """
    for names, mask in doubt.items():
        rows = np.flatnonzero(mask)
        good = np.logical_or.reduce([batch.find_good(name)[rows] for name in names])
        left = np.bincount(batch.group[rows], good)[batch.group[rows]]
        for name in names:
            flag, there = batch.flag[name][rows], np.isfinite(batch.value[name][rows])
            failed = np.isin(flag, [Flag.BACKGROUND_CHECK, Flag.BUDDY_CHECK]) & there
            several = (flag == Flag.GOOD) & there & (left > 1)
            batch.flag[name][rows[failed | (several if last else False)]] = Flag.CONTRADICTORY
            batch.contradicted[name][rows] = several & (not last)
