"""All checks beyond those of reading, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.observations.quality.background import check_background
from xappa.observations.quality.batch import Array, Background, Batch
from xappa.observations.quality.buddies import check_buddies
from xappa.observations.quality.near_duplicates import check_near_duplicates
from xappa.observations.quality.options import Quality
from xappa.observations.quality.places import REPORTED, check_places
from xappa.observations.quality.windows import in_windows

WINDOW = np.timedelta64(6, "h")


def control(
    obs: xr.Dataset,
    quality: Quality,
    *,
    background: Background | None = None,
    surface: Array | None = None,
    reduced: Iterable[str] = REPORTED,
    window: np.timedelta64 = WINDOW,
) -> xr.Dataset:
    """Flag reports that other information contradicts; none is removed.

    In this order, the first reason staying: track, station table and heights; background; buddies; near-duplicates.

    Parameters
    ----------
    obs : Dataset
        Observations in the one form, flagged by `check`, with errors where they are known.
    quality : Quality
    background : callable, optional
        Maps a `Batch` to means and deviations by quantity. Without it there is no background check.
    surface : array of float, (obs,), optional
        Height of the model's surface at the reports, m.
    reduced : iterable of str, optional
        Pressures that stand for that at mean sea level. Default: those reported so.
    window : timedelta64
        Reports are compared within windows of this length.

    Returns
    -------
    Dataset
        The same with flags; lazy where the values are.
    """
    obs = check_places(obs, quality, surface, reduced)
    if not quality.compares:
        return obs
    return in_windows(obs, Comparison(quality, background), window)


@dataclass(frozen=True)
class Comparison:
    """The checks of windows.

    Parameters
    ----------
    quality : Quality
    background : callable or None
    """

    quality: Quality
    background: Background | None

    def __call__(self, batch: Batch) -> None:
        """Reject reports of `batch`, in place."""
        found = {} if self.background is None else dict(self.background(batch))
        if self.quality.background is not None:
            check_background(batch, found, self.quality.background)
        check_buddies(batch, found, self.quality)
        check_near_duplicates(batch, self.quality)
